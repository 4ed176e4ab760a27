import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genie_robo.command_line import (
    command_line,
    is_list,
    is_quoted,
    printable,
    quote_text,
    split_values,
    write_setting,
)


def test_a_command_is_pasted_word_by_word():
    line = command_line("view", write_setting("run", "my runs/it's $HOME"))
    assert shlex.split(line) == ["genie-robo", "view", "run=my runs/it's $HOME"]


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("runs/a b,c=[d]#é", "k=runs/a b,c=[d]#é"),
        ("'a'", r"k='\'a\''"),
        ("~/set", "k='~/set'"),
        ("null", "k='null'"),
        ("[a]", "k='[a]'"),
        ("a${b}", r"k=a\${b}"),
        (["a", "1.10"], "k=[a,1.10]"),
        (["a,b", "", " c", "d[0]"], "k=['a,b','',' c','d[0]']"),
    ],
)
def test_only_what_would_be_misread_is_quoted(value, typed):
    assert write_setting("k", value) == typed


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("", [""]),
        ("a,b", ["a", "b"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("it's,b's", ["it's", "b's"]),
        ("[a,b],[c]", ["[a,b]", "[c]"]),
        ("train[:3],val", ["train[:3]", "val"]),
        ("${oc.select:a,b},c", ["${oc.select:a,b}", "c"]),
        ("a[1,b", ["a[1", "b"]),
        ("a],b[", ["a]", "b["]),
    ],
)
def test_values_of_a_sweep(typed, values):
    assert split_values(typed) == values


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("[a,b]", True), ("[]", True), ("[a],[b]", False), ("a[b]", False), ("[a", False)],
)
def test_a_list_is_one_pair_of_brackets(typed, expected):
    assert is_list(typed) is expected


@given(st.text())
@example("\\")
@example("\\'")
@example("a\\\\'b\\")
def test_quoted_text_is_one_value_that_ends_where_it_should(text):
    quoted = quote_text(text)
    assert is_quoted(quoted)
    assert split_values(f"{quoted},{quoted}") == [quoted, quoted]


def test_control_characters_are_written_out():
    assert printable("a\x1b[2Jb\x07\u202e\x9b\r") == r"a\x1b[2Jb\x07\u202e\x9b\r"
    assert printable("höhe 12 %\tx\ny") == "höhe 12 %\tx\ny"
