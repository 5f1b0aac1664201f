import java.util.*;

class Problem {
    static List<Integer> sorted(List<Integer> values) {
        List<Integer> copy = new ArrayList<>(values);
        Collections.sort(copy);
        return copy;
    }

    public static void main(String[] args) {
        assert sorted(List.of(3, 1, 2)).equals(List.of(1, 2, 3));
        assert sorted(List.of()).isEmpty();
    }
}
