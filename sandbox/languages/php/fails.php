<?php
function sorted($values) {
    return $values;
}

if (sorted([3, 1, 2]) !== [1, 2, 3]) { throw new Exception("Test failed!"); }
if (sorted([]) !== []) { throw new Exception("Test failed!"); }
