"""Definitions of schemes: what they mean, how they are written, what is refused and how."""

import json
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.support.models import TYPED, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import EVERYWHERE
from timesformer_cli.model.regroup import group, ungroup, visible
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.typed.schemes import (
    MOST_TEXT,
    find_scheme,
    parse_scheme,
    read_scheme,
    scheme_label,
)

SENTENCE = "t h w -> (t) (h w)"
# What is wrong, and the whole message: where, and which axis.
MALFORMED = {
    "t h w -> (t) (h)": "part 1, character 5 of 't h [w] -> (t) (h)': "
    "w (columns) stands before the arrow and not behind it",
    "t h -> (t) (h w)": "part 1, character 5 of 't h [->] (t) (h w)': "
    "w (columns) is missing before the arrow",
    "h t w -> (t) (h w)": "part 1, character 1 of '[h] t w -> (t) (h w)': "
    "here t (frames) belongs: the grid is t h w, in order",
    "t h w -> (t) (h w i)": "part 1, character 19 of 't h w -> (t) (h w [i])': "
    "axis i stands behind the arrow and not before it",
    "t h w -> (t h) (h w)": "part 1, character 17 of 't h w -> (t h) ([h] w)': "
    "h (rows) stands twice on one side of the arrow",
    f"{SENTENCE}; t h w -> (h w) t": "part 2, character 16 of 't h w -> (h w) [t]': "
    "t (frames) stands alone; behind the arrow stand two lists in parentheses: (groups) (members)",
    "t (h i) w -> (t i) (h w)": "part 1, character 4 of 't ([h] i) w -> (t i) (h w)': "
    "h (rows) is split; say how with h=2 or i=2",
    f"{SENTENCE} h=2": "part 1, character 20 of 't h w -> (t) (h w) [h=2]': "
    "h (rows) has the length that is left of the clip; leave out h",
    f"{SENTENCE} j=2": "part 1, character 20 of 't h w -> (t) (h w) [j=2]': "
    "axis j is not in the sentence",
    "(t h) w -> (t) (h w)": "part 1, character 4 of '(t [h]) w -> (t) (h w)': "
    "h (rows) is an axis of its own, not one with others",
    "t h w (t) (h w)": "part 1, character 16 of 't h w (t) (h w)[]': "
    "an arrow is missing: a sentence is t h w -> (groups) (members)",
    "t h w -> (t) (h w": "part 1, character 14 of 't h w -> (t) [(]h w': "
    "this parenthesis is never closed",
    "t h w -> (t)) (h w)": "part 1, character 13 of 't h w -> (t)[)] (h w)': "
    "this parenthesis was never opened",
    "t h w -> (t (h w))": "part 1, character 13 of 't h w -> (t [(]h w))': "
    "parentheses do not stand in parentheses",
    "time h w -> (time) (h w)": "part 1, character 1 of '[time] h w -> (time) (h w)': not an axis",
    "t h w -> (t h w) ()": "part 1, character 18 of 't h w -> (t h w) [(])': no members",
    "t h w -> (t) (h w) t h w -> (t) (h w)": "part 1, character 26 of "
    "'t h w -> (t) (h w) t h w [->] (t) (h w)': a second arrow; a semicolon goes between two passes",
    f"{SENTENCE} cls = absent": "part 1, character 20 of 't h w -> (t) (h w) [cls] = absent': "
    "not an axis",
    f"{SENTENCE} cls=none": "cls is one of absent, shared, own, global",
    f"{SENTENCE} cls=own cls=own": "character 28 of .*: cls is said twice",
    f"{SENTENCE} colour=red": "no fact of a pass; there are cls, window, padded, shift, diagonal, ",
    f"{SENTENCE} window=7,7": "window is three numbers for t, h, w, such as window=2,7,7",
    f"{SENTENCE} shift=*,1,1": "shift is three numbers for t, h, w, such as shift=2,7,7$",
    f"{SENTENCE} diagonal=1": "two numbers for h, w",
    f"{SENTENCE} stride=0": "stride is a whole number from 1 to 4096, such as stride=2",
    f"{SENTENCE} stride=99999": "stride is a whole number from 1 to 4096, such as stride=2",
    f"{SENTENCE} window=*,7,7": "window leaves the class token out; say cls=absent as well",
    f"{SENTENCE} window=*,0,7 cls=absent": r"h \(rows\) has windows of no patch",
    "t (i h) w -> (t i) (h w) i=2 window=*,7,7": r"h \(rows\) is split already",
    f"{SENTENCE} reach=1,1,1 stride=2 cls=absent": "reach does not go with stride",
    f"{SENTENCE} stride=2 cls=global": "stride does not go with cls=global",
    "t h w -> (h w) (t) cls=own": r"own class tokens need a group for each frame: \(t\)",
    f"{SENTENCE} cls=own shift=1,0,0": r"t \(frames\) cannot move",
    f"{SENTENCE} cls=own; {SENTENCE}": "part 2, .*cls=shared cannot stand in one scheme",
    f"{SENTENCE} beside {SENTENCE}": "say cls=absent twice",
    f"{SENTENCE} beside {SENTENCE} beside {SENTENCE}": "among two groupings, not more",
    "t (i j h) w -> (t i j) (h w) i=2 j=2 padded cls=absent": "padded fills up axes split in two",
    f"{SENTENCE}; name=x; name=y": "part 3, character 1 of '.name=y.': name is said twice",
    f"{SENTENCE} name=Ä": "character 25 of the scheme is '.xc4', which no sentence has",
    f"{SENTENCE} name=X": "a name is up to 40 small letters, digits and hyphens",
    f"{SENTENCE} tubelet=0": "tubelet is a whole number of frames",
    f"{SENTENCE} positions=random": "positions is one of separate, table",
    "name=x": "a scheme has 1 to 8 passes, and this one has 0",
    "; ".join([SENTENCE] * 9): "a scheme has 1 to 8 passes, and this one has 9",
    SENTENCE + " " * MOST_TEXT: f"a scheme of 2018 characters; {MOST_TEXT} are the most",
    "(" * 1000: r"of '\.\.\.\(+\[\]': an arrow is missing",
    "cls=absent": "an arrow is missing",
}


@pytest.mark.parametrize("definition", MALFORMED, ids=lambda text: text[:50])
def test_a_malformed_definition_is_one_line_that_shows_the_place(definition):
    with pytest.raises(UsageError) as caught:
        read_scheme(definition)
    said, wanted = str(caught.value), MALFORMED[definition]
    assert said.startswith(wanted) or re.search(wanted, said), said
    assert "\n" not in said and said.isprintable() and said.isascii()


@pytest.mark.parametrize("command", [["benchmark", "--no-measure"], ["train", "nothing"]])
@pytest.mark.parametrize("definition", ["t h w -> (t) (h)", "t h -> (t) (h w)"])
def test_a_command_says_it_and_ends_with_2(command, definition):
    ran = CliRunner().invoke(app, [*command, "--attention", definition])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.strip().endswith(MALFORMED[definition])
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", [*SCHEMES, "paper", "all"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(UsageError, match=f"name={name}: there is a scheme of that name"):
        read_scheme(f"{SENTENCE}; name={name}")


def test_a_model_older_than_the_scheme_of_its_name_opens_and_is_told_apart():
    config = ModelConfig(attention="t h w -> () (t h w); name=divided")
    assert config.scheme_name == "divided (typed)"
    assert config.scheme.passes == SCHEMES["joint"].passes


@pytest.mark.parametrize("name", SCHEMES)
def test_the_passes_of_every_scheme_can_be_typed(name):
    scheme = SCHEMES[name]
    for passes in (scheme.passes, scheme.alternate or scheme.passes):
        text = replace(scheme, passes=passes)
        typed = parse_scheme("; ".join(map(written, text.passes)))
        assert [one.parts for one in typed.scheme.passes] == [one.parts for one in passes]


def written(grouping):
    from timesformer_cli.typed.passes import pass_text

    return pass_text(grouping)


def test_a_window_is_the_split_that_the_registered_windows_are():
    typed = find_scheme(
        "t h w -> () (t h w) window=8,7,7 cls=absent; "
        "t h w -> () (t h w) window=8,7,7 shift=4,3,3 reach=7,6,6 cls=absent"
    )
    shifted = SCHEMES["shifted"]
    assert typed.passes == (*shifted.passes, *shifted.alternate)


@pytest.mark.parametrize(
    ("definition", "label"),
    [
        (SENTENCE, "h w"),
        ("t h w->(t)(h w);t h w->(h w)(t)cls=absent;", "h w + t"),
        (f"{SENTENCE} name=frames", "frames"),
        ("t h w -> () (t h w) window=*,7,7 cls=absent", "t h=7 w=7"),
        ("t h w -> (t) (h w) cls=absent beside t h w -> (h w) (t) cls=absent", "h w beside t"),
    ],
)
def test_tables_call_a_scheme_by_its_name_or_its_members(definition, label):
    assert scheme_label(read_scheme(definition)) == label


TOML = """
name = "mine"
tubelet = 2

[[passes]]
sentence = "t h w -> (t) (h w)"

[[passes]]
sentence = "t h w -> () (t h w)"
cls = "absent"
window = ["*", 7, 7]
shift = [0, 3, 3]
padded = true
"""


def test_a_toml_file_is_the_same_definition(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TOML)
    typed = "t h w -> () (t h w) cls=absent window=*,7,7 shift=0,3,3"
    assert read_scheme(str(path)) == read_scheme(f"name=mine tubelet=2; {SENTENCE}; {typed}")


def test_heads_are_shared_out_in_toml_too(tmp_path):
    path = tmp_path / "mine.toml"
    halves = "sentence = 't h w -> (t) (h w)'\ncls = 'absent'"
    other = "beside = {sentence = 't h w -> (h w) (t)', cls = 'absent'}"
    path.write_text(f"[[passes]]\n{halves}\n{other}\n")
    assert find_scheme(read_scheme(str(path))).passes == SCHEMES["vivit-4"].passes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[passes]", "not readable as TOML"),
        ("", r"no \[\[passes\]\]"),
        ("passes = 1", r"no \[\[passes\]\]"),
        ("[[passes]]\ncls = 'own'", "a pass without a sentence"),
        ("[[passes]]\nsentence = 'x; y'", "'sentence' is 'x; y'"),
        ("[[passes]]\nsentence = 't h w -> (t) (h w)'\ncls = 1.5", "cls is neither a word nor"),
        ("[[passes]]\nsentence = 't h w -> (t) (h w)'\ncls = 'own t=2'", "'cls' is 'own t=2'"),
        ("[[passes]]\nsentence = 't h w -> (t) (h)'", r"part 2, character 5 of 't h \[w\]"),
        (f"x = 0x{'f' * 9000}\n[[passes]]\nsentence = 't'", "x is neither a word nor"),
        (f"x = {'[' * 9000}", "not readable as TOML"),
        ("#" * (1 << 17), "more than 65,536 bytes"),
        ("name = 'divided'\n[[passes]]\nsentence = 't h w -> (t) (h w)'", "name=divided: there is"),
        ("colour = 'red'\n[[passes]]\nsentence = 't h w -> (t) (h w)'", "an arrow is missing"),
    ],
    ids=range(13),
)
def test_a_toml_file_that_is_wrong_is_named(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        read_scheme(str(path))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_toml_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none.toml: cannot be read \(No such file"):
        read_scheme(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("definition", TYPED.values(), ids=TYPED)
def test_the_definition_travels_in_the_configuration(definition):
    config = tiny(attention=definition)
    values = json.loads(json.dumps(config.to_dict()))
    assert ModelConfig.from_dict(values) == config
    assert values["attention"] == definition
    assert parse_scheme(definition).text == definition


@pytest.mark.parametrize(
    "hostile",
    [
        "t (i h) w -> (t i) (h w) i=4096 padded cls=absent; " * 7 + SENTENCE,
        "t h w -> () (t h w) window=4096,4096,4096 cls=absent",
        "t (a c e h) w -> (t a c e) (h w) a=4096 c=4096 e=4096",
        "name=" + "a" * 10**6 + "=",
        "->" * 999,
        " " * 10**6 + "=",
        "t h w -> (t) (h w) i=" + "9" * 900,
    ],
    ids=range(7),
)
def test_a_hostile_definition_costs_neither_time_nor_memory(hostile):
    """It is refused, or its padded grid has at most twice the patches along each axis."""
    try:
        config = tiny(attention=hostile)
    except UsageError as error:
        refused = str(error)
    else:
        refused = ""
    assert len(refused) < MOST_TEXT
    for grouping in () if refused else config.scheme.passes:
        filled = grouping.filled(config.grid)
        assert all(many < 2 * size for many, size in zip(filled, config.grid, strict=True))


PARTS = [*zip("thwthw", "thwijk", strict=True)]  # of the grid's axes, what they are split into
three = st.tuples(*[st.integers(1, 4)] * 3)


@st.composite
def definitions(draw):
    """A valid pass: each axis whole or split, its names dealt out among groups and members."""
    names, lengths, grid = [], {}, []
    split = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    for letter, other, parted in zip("thw", "ijk", split, strict=True):
        pair = draw(st.permutations([letter, other])) if parted else [letter]
        if parted:
            lengths[draw(st.sampled_from(pair))] = draw(st.integers(1, 3))
        names += pair
        grid.append(f"({' '.join(pair)})" if parted else letter)
    names = draw(st.permutations(names))
    cut = draw(st.integers(0, len(names) - 1))
    words = [f"{' '.join(grid)} -> ({' '.join(names[:cut])}) ({' '.join(names[cut:])})"]
    words += [f"{name}={length}" for name, length in lengths.items()]
    words += ["cls=absent"]
    if draw(st.booleans()):
        words.append("padded")
    if draw(st.booleans()):
        words.append("shift=" + ",".join(map(str, draw(three))))
    if draw(st.booleans()):
        words.append("reach=" + ",".join(map(str, draw(three))))
    if draw(st.booleans()):
        words.append(f"diagonal={draw(st.integers(-2, 2))},{draw(st.integers(-2, 2))}")
    return " ".join(words)


@settings(max_examples=60, deadline=None)
@given(definition=definitions(), grid=st.tuples(*[st.integers(1, 6)] * 3))
def test_every_valid_definition_is_a_partition_and_its_text_means_the_same(definition, grid):
    typed = parse_scheme(definition)
    assert parse_scheme(typed.text) == typed
    (grouping,) = typed.scheme.passes
    divides = all(
        grid["thw".index(axis)] % length == 0
        for axis, length in [(at, dict(grouping.factors).get(name, 1)) for at, name in PARTS]
    )
    if not (grouping.padded or divides):
        with pytest.raises(UsageError, match="do not divide"):
            grouping.lengths(grid)
        return
    patches = torch.arange(1, 1 + grid[0] * grid[1] * grid[2]).view(1, *grid, 1)
    members = group(patches, grouping)
    assert members[members > 0].sort().values.tolist() == patches.flatten().tolist()
    assert torch.equal(ungroup(members, grouping, grid), patches)
    assert tuple(members.shape[1:3]) == grouping.sizes(grid)
    seen = visible(grouping, grid, patches.device)
    assert grouping.is_masked(grid) or seen.all()
    assert grouping.seen(grid) >= int(seen.sum(-1).max()) or grouping.reach[0] < EVERYWHERE


def test_a_diagonal_moves_on_with_every_frame():
    (grouping,) = find_scheme("t h w -> (h w) (t) diagonal=1,-2").passes
    frames, rows, columns = grid = (3, 4, 5)
    places = torch.cartesian_prod(*map(torch.arange, grid)).view(1, *grid, 3)
    for members in group(places, grouping)[0]:
        (_, row, column), *_ = members.tolist()
        meant = [[t, (row + t) % rows, (column - 2 * t) % columns] for t in range(frames)]
        assert members.tolist() == meant
