"""The section of docs/schemes.md on schemes that a user types; its pictures are true outputs."""

from timesformer_cli.cli.draw.scheme import explanation
from timesformer_cli.cli.formats import markdown_table
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import PositionKind
from timesformer_cli.typed.passes import PASS_FACTS
from timesformer_cli.typed.schemes import MOST_PASSES, MOST_TEXT, SCHEME_FACTS, read_scheme

LATE_TIME = "name=late-time; t h w -> (t) (h w); t h w -> (h w) (t) cls=absent"
DIAGONAL = "name=diagonal; t h w -> (h w) (t) cls=absent diagonal=1,1; t h w -> (t) (h w)"
WRONG = ("t h w -> (t) (h)", "t (h i) w -> (t i) (h w)", "t h w -> (t) (h w) window=*,7,7")
KINDS = ", ".join(f"`{kind}`" for kind in PositionKind.__args__)
ABOUT = {
    "i=2": "the length of an axis; of a split axis, all parts but one have a length",
    "cls": "how the class token takes part: `absent`, `shared` (unless said: each group has a copy, and "
    "their updates are averaged), `own` (one per frame), `global` (a key in every group, and it sees "
    "every patch)",
    "window": "frames, rows, columns: the sentence holds within windows of this size; `*` leaves an axis "
    "whole. `t h w -> () (t h w) window=*,7,7` is short for "
    "`t (i h) (j w) -> (i j) (t h w) h=7 w=7 padded`",
    "padded": "a grid that the lengths do not divide is filled up; what fills it is never seen",
    "shift": "frames, rows, columns by which the groups are moved, around the edge",
    "diagonal": "rows, columns by which the groups move on from each frame to the next, around the edge",
    "reach": "frames, rows, columns: members of a group that are farther apart do not see each other; `*` "
    "is any distance",
    "stride": "along each axis of a group, one of so many patches is seen",
    "name": "what tables, pictures and messages call the scheme; none of tsf's own names",
    "tubelet": "frames in a patch",
    "positions": f"how tokens know their place: {KINDS}",
}
TEXT = """# Schemes of your own

Wherever `--attention` or `--explain` takes a name, it takes sentences as well; quote them for the shell:

```console
$ tsf benchmark --attention paper --attention "{late}" --frames 8,16,32 --no-measure --plot cost.png
$ tsf train clips/ --init scratch --attention "{late}"
$ tsf benchmark --explain "{diagonal}"
{picture}
```

A semicolon goes between the passes of a block. Behind a sentence stand its facts, `key=value` and without spaces. On the left
of the arrow are frames, rows and columns, `t h w`, each alone or split as in `(h i)`; on the right are the axes that tell
groups apart, then those within a group. As each axis stands once on each side, every patch is in exactly one group. An axis is one small
letter; b and d are taken. Where heads are to be shared out, `beside` stands between two sentences:
`t h w -> (t) (h w) cls=absent beside t h w -> (h w) (t) cls=absent`.

{facts}
`name`, `tubelet` and `positions` belong to the whole scheme and may stand anywhere. `window`, `padded` and `reach` go with `cls=absent`
only, and not with `stride`. A scheme has up to {passes} passes and {characters:,} characters. Its groups do not change from block to block, and it
has no second path. A sentence cannot say which rows and columns of *one* frame lie on a diagonal, as its groups are
products of axes; `diagonal` follows one from frame to frame.

What is wrong is shown in square brackets where it stands:

```text
{wrong}
```

The same can stand in a file that ends in `.toml`, and `--attention late-time.toml` reads it:

```toml
name = "late-time"

[[passes]]
sentence = "t h w -> (t) (h w)"

[[passes]]
sentence = "t h w -> (h w) (t)"
cls = "absent"
```

There, `window = [4, "*", "*"]` stands for `window=4,*,*`, `padded = true` for `padded`, and
`beside = {{sentence = "...", cls = "absent"}}` for what is beside.

The definition itself, not its name, is saved in `config.json` and in exported files, so whoever gets the model needs nothing else. A
new pass of a model that starts from other weights begins as `tsf train` says ([training.md](training.md)).
"""


def typed_section() -> str:
    """The section as Markdown."""
    rows = [[f"`{key}`", ABOUT[key]] for key in ("i=2", *PASS_FACTS, *SCHEME_FACTS)]
    return TEXT.format(
        late=LATE_TIME,
        diagonal=DIAGONAL,
        picture="\n".join(line.plain for line in explanation(read_scheme(DIAGONAL))),
        facts=markdown_table(["fact", "what it says"], rows),
        wrong="\n".join(map(_said, WRONG)),
        passes=MOST_PASSES,
        characters=MOST_TEXT,
    )


def _said(definition: str) -> str:
    try:
        return read_scheme(definition)
    except UsageError as error:
        return str(error)
