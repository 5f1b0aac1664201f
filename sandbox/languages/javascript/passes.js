const assert = require('node:assert');

function sorted(values) {
  return [...values].sort((a, b) => a - b);
}

assert.deepEqual(sorted([10, 9, 1]), [1, 9, 10]);
assert.deepEqual(sorted([]), []);
