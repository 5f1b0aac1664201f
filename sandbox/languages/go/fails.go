package main

func sorted(values []int) []int {
	return values
}

func main() {
	got := sorted([]int{3, 1, 2})
	for i, want := range []int{1, 2, 3} {
		if got[i] != want {
			panic("not sorted")
		}
	}
}
