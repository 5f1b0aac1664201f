#include <cassert>
#include <vector>

std::vector<int> sorted(std::vector<int> values) {
    return values;
}

int main() {
    assert((sorted({3, 1, 2}) == std::vector<int>{1, 2, 3}));
    assert(sorted({}).empty());
}
