"""What the README says is so."""

import json
import re
import textwrap
from pathlib import Path

import accelerate
import lightning
import pytest
import torch
import transformers

import clipcore
from clipcore.rules import RULES
from clipcore.run import DEFAULT_URL
from server.cli import main
from server.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def table_rows(heading):
    """The cells of the table under a heading, without its header."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip("` ") for cell in row] for row in rows[2:]]


def test_every_setting_is_documented_as_it_is():
    """Name, default and help of each setting stand in the README's table, and no other setting does."""
    assert [tuple(row) for row in table_rows("Settings")] == [
        (name, default, help_) for name, default, help_ in Settings.table()
    ]


def test_every_variable_that_a_training_reads_is_documented():
    """With its default, where it has one; no other is."""
    sources = "".join(path.read_text() for path in (ROOT / "clipcore").rglob("*.py"))
    documented = {name: default for name, default, _ in table_rows("Settings of a training")}
    assert set(documented) == set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", sources))
    assert {name: default for name, default in documented.items() if default} == {"CLIPCORE_URL": DEFAULT_URL}


def test_every_mode_is_documented_with_its_parameters():
    """The table of modes names the rules there are and their parameters, in order."""
    documented = {row[0]: re.findall(r"\w+", row[2]) for row in table_rows("Modes")}
    assert documented == {mode: [parameter.name for parameter in rule.parameters] for mode, rule in RULES.items()}


@pytest.mark.filterwarnings("ignore")
def test_the_script_runs_as_it_stands(monkeypatch):
    """The README's script works on a model, and without a server it ends by itself."""
    monkeypatch.setenv("CLIPCORE_URL", "http://127.0.0.1:9")
    section = README.split("## Your own script\n")[1].split("\n[`examples")[0]
    script = textwrap.dedent(section[section.index("    import clipcore") :])
    model = torch.nn.Linear(3, 1)
    names = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "loader": [torch.ones(2, 3)] * 3,
        "criterion": torch.Tensor.mean,
    }
    exec(script.replace("run.finish()", "run.finish(timeout_s=0.1)"), names)
    assert names["stats"].step == 3


def test_a_knob_is_declared_and_read_as_the_readme_does():
    """The snippet about knobs runs as it stands, around a step."""
    section = README.split("## Modes\n")[1].split("\n## ")[0]
    snippet = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))
    model = torch.nn.Linear(3, 1)
    model(torch.ones(3)).backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    exec(snippet, {"clipcore": clipcore, "model": model, "optimizer": optimizer})
    assert optimizer.param_groups[0]["lr"] == 0.001


def test_the_commands_are_those_there_are():
    """Every command that the README types exists, and every one but `serve`, which it explains, stands in its list."""
    listed = re.findall(
        r"^    clipcore (\w+)", README.split("## Command line and API\n")[1].split("\n## ")[0], re.MULTILINE
    )
    assert {*listed, "serve"} == set(main.commands)


def test_the_pages_figures_are_those_that_were_measured():
    """What the README says of the page's speed is what the kept result of the benchmark says."""
    result = json.loads((ROOT / "benchmarks/results/web-2-cores.txt").read_text().splitlines()[-1])
    newest, whole = result["last_1000"], result["last_all"]
    for sentence in (
        f"at least {newest['redraws_per_s_least']} a second; {whole['redraws_per_s_least']} with all steps on show",
        f"{newest['key_ms_median']} ms (at most {max(newest['key_ms_most'], whole['key_ms_most'])} ms)",
        f"until its first chart is drawn | {result['first_paint_ms'] / 1000:.1f} s",
    ):
        assert sentence in README


def snippets(heading):
    """The indented blocks of a section, one after the other: those that begin with an import."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    code = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    ") or not line)
    return ["from " + block for block in code.split("from ")[1:]]


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`")
def test_the_frameworks_take_what_the_readme_gives_them(monkeypatch, tmp_path):
    """Each snippet runs in its framework as it stands."""
    monkeypatch.chdir(tmp_path)
    in_lightning, in_transformers, in_accelerate = snippets("In a framework")
    model, accelerator = torch.nn.Linear(3, 1), accelerate.Accelerator(cpu=True)
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), lr=0.1))
    names = {"accelerator": accelerator, "model": model, "optimizer": optimizer, "clipcore": clipcore}
    names |= {"loader": [torch.ones(2, 3)] * 3, "criterion": torch.Tensor.mean}
    exec(in_lightning, names | {"Trainer": lightning.Trainer})
    exec(in_transformers, names | {name: getattr(transformers, name) for name in ("Trainer", "TrainingArguments")})
    exec(in_accelerate, names)
    assert names["stats"].step == 3


def test_every_link_within_the_repository_leads_somewhere():
    """Files that the README points to exist."""
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_tree_names_what_is_there_and_leaves_no_module_out():
    """Each line is a file or folder of the repository, and each module beside them has its line."""
    tree = README.split("```text\n")[1].split("```")[0]
    folder, named = "", []
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        if not line.startswith(" "):
            folder = name
        named.append(folder + name if line.startswith(" ") else name)
    assert [path for path in named if not (ROOT / path).exists()] == []
    modules = [path for top in ("clipcore/*.py", "server/*.py", "web/*.js") for path in ROOT.glob(top)]
    paths = [str(path.relative_to(ROOT)) for path in modules if not path.stem.startswith("__")]
    assert sorted(set(paths) - set(named)) == []
