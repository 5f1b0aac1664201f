def sorted(values)
  values
end

raise 'not sorted' unless sorted([3, 1, 2]) == [1, 2, 3]
raise 'not sorted' unless sorted([]) == []
