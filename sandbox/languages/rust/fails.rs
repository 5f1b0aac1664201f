fn sorted(values: Vec<i32>) -> Vec<i32> {
    values
}

fn main() {
    assert_eq!(sorted(vec![3, 1, 2]), vec![1, 2, 3]);
    assert_eq!(sorted(vec![]), vec![]);
}
