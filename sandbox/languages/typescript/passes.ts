declare var require: any;
const assert = require('node:assert');

function sorted(values: number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

assert.deepEqual(sorted([10, 9, 1]), [1, 9, 10]);
assert.deepEqual(sorted([]), []);
