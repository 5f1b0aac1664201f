package main

import "sort"

func sorted(values []int) []int {
	copied := append([]int{}, values...)
	sort.Ints(copied)
	return copied
}

func main() {
	got := sorted([]int{3, 1, 2})
	for i, want := range []int{1, 2, 3} {
		if got[i] != want {
			panic("not sorted")
		}
	}
}
