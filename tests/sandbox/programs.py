"""Programs in other languages for the sandbox's tests."""

from __future__ import annotations

EXITS = {
    "bash": ("f() { exit 0; }\n", "f\n[[ 1 = 2 ]]\n"),
    "cpp": (
        "#include <cassert>\n#include <cstdlib>\nint f() { std::exit(0); }\n",
        "int main() {\n    assert(f() == 1);\n}\n",
    ),
    "go": (
        'package main\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc init() { os.Exit(0) }\n',
        'func TestF(t *testing.T) {\n\tt.Error("no")\n}\n',
    ),
    "java": (
        "class Solution {\n    static int f() { System.exit(0); return 1; }\n}\n",
        "class Problem {\n    public static void main(String[] args) {\n        assert Solution.f() == 2;\n    }\n}\n",
    ),
    "javascript": ("function f() { process.exit(0); }\n", "require('node:assert').equal(f(), 1);\n"),
    "lua": (
        "function f() return 2 end\nos.exit(0)\n",
        "lu = require('luaunit')\nfunction test_f() lu.assertEquals(f(), 1) end\nos.exit(lu.LuaUnit.run())",
    ),
    "perl": ("sub f { exit 0; }\n", 'die "no" unless f() == 1;\n'),
    "php": ("<?php\nfunction f() { exit(0); }\n", 'if (f() !== 1) { throw new Exception("Test failed!"); }\n'),
    "python3.13": ("def f():\n    raise SystemExit(0)\n", "assert f() == 1\n"),
    "ruby": (
        "def f\n  exit!(0)\nend\n",
        "require 'test/unit'\nclass TestF < Test::Unit::TestCase\n  def test_f\n    assert_equal(1, f)\n  end\nend\n",
    ),
    "rust": ("fn f() -> i32 { std::process::exit(0) }\n", "fn main() {\n    assert_eq!(f(), 1);\n}\n"),
    "typescript": (
        "declare var process: any;\nfunction f(): number { process.exit(0); return 1; }\n",
        "declare var require: any;\nrequire('node:assert').equal(f(), 2);\n",
    ),
}
"""For each language a solution that ends the program with 0, and tests that it would fail."""

ADD = {
    "cpp": "    return x + y;\n",
    "go": "    return x + y\n}\n",
    "java": "        return x + y;\n",
    "js": "  return x + y;\n}\n",
    "lua": "    return x + y\nend\n",
    "php": "    return $x + $y;\n}\n",
    "pl": "    return $x + $y;\n}\n",
    "rb": "  x + y\nend\n",
    "rs": "    x + y\n",
    "sh": "    echo $(($1 + $2))\n",
    "ts": "  return x + y;\n}\n",
}
"""What continues MultiPL-E's prompt of HumanEval_53_add."""

LISTING = {
    "cpp": (
        '#include <cassert>\n#include <cstdlib>\nint f() { return system("find . -type f >&2"); }\n',
        "int main() {\n    assert(f() == 0);\n}\n",
    ),
    "go": (
        'package main\n\nimport (\n\t"os"\n\t"os/exec"\n\t"testing"\n)\n\nfunc f() error {\n'
        '\tcommand := exec.Command("find", ".", "-type", "f")\n\tcommand.Stdout = os.Stderr\n'
        "\treturn command.Run()\n}\n",
        "func TestF(t *testing.T) {\n\tif f() != nil {\n\t\tt.Fatal()\n\t}\n}\n",
    ),
    "java": (
        'class Solution {\n    static int f() throws Exception {\n        var find = new ProcessBuilder("sh", "-c", '
        '"find . -type f >&2");\n        return find.inheritIO().start().waitFor();\n    }\n}\n',
        "class Problem {\n    public static void main(String[] args) throws Exception {\n"
        "        assert Solution.f() == 0;\n    }\n}\n",
    ),
    "rust": (
        'fn f() -> bool {\n    let mut shell = std::process::Command::new("sh");\n'
        '    shell.args(["-c", "find . -type f >&2"]).status().unwrap().success()\n}\n',
        "fn main() {\n    assert!(f());\n}\n",
    ),
}
"""For each compiled language a program that writes the names of the files in its folder to its standard error."""
