local function sorted(values)
    table.sort(values)
    return values
end

assert(table.concat(sorted({3, 1, 2}), ' ') == '1 2 3')
assert(#sorted({}) == 0)
