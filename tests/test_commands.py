"""The commands as files that are run: what they list, how fast they may start, how they end."""

import argparse
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.__main__ import main
from nas.commands import cli, run
from nas.commands.cli import COMMANDS, main_of, run_command, whole
from nas.errors import SearchFailed, UserError
from nas.shadowed import PACKAGES, shadowed
from trainers.data.progress import progress_bar


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_waits_for_none_of_the_large_libraries(command):
    code = f"""
import sys
from nas.commands.cli import main_of
try:
    main_of({command!r}, ["--help"])
except SystemExit as end:
    assert end.code == 0
large = {{"torch", "ray", "optuna", "plotly", "numpy", "sklearn", "rich"}} & set(sys.modules)
assert not large, large
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert f"usage: python -m nas.{command}" in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_runs_as_a_module_and_by_the_console_script(command):
    by_module = python("-m", f"nas.{command}", "--no-such-option")
    assert by_module.returncode == 2, by_module.stderr
    by_script = python("-m", "nas", command, "--no-such-option")
    assert (by_script.returncode, by_script.stderr) == (2, by_module.stderr)
    assert re.match(r"error: .*; see python -m nas\.\w+ --help\n$", by_module.stderr)


def test_without_a_command_the_commands_are_listed(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)
    assert main(["serach"]) == 2
    assert "unknown command 'serach'" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert re.match(r"lensing-nas \S+", capsys.readouterr().out)


def test_the_shell_completes_every_command_and_option(capsys, monkeypatch):
    pytest.importorskip("shtab")
    assert main(["--completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert f"=({' '.join(COMMANDS)})" in script
    assert all(option in script for action in run.options()._actions for option in action.option_strings)
    assert main(["--completion", "dos"]) == 2
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--completion", "bash"]) == 2
    assert capsys.readouterr().err.endswith("completion needs shtab: pip install shtab\n")


def test_a_whole_number_may_be_written_with_an_exponent():
    assert [whole(text) for text in ("20000000", "20e6", "2E7", "2.5e1", "-1")] == [20_000_000] * 3 + [25, -1]
    for text in ("1.5", "nan", "inf", "many", "", "1e-3", "1e999999999"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number such as"):
            whole(text)


@pytest.mark.parametrize("command", ["run", "retrain", "predict", "evaluate", "audit"])
def test_a_command_cannot_take_the_place_of_the_function_of_its_name(command):
    with pytest.raises(ImportError, match=rf"nas\.{command} is a command"):
        __import__(f"nas.{command}")
    assert command == "run" or callable(getattr(nas, command))


def test_every_option_of_the_command_is_a_keyword_of_the_library():
    options = {action.dest for action in run.options()._actions} - {"help", "version", "list"}
    assert options == set(inspect.signature(nas.search).parameters) - {"quiet"}


@pytest.mark.parametrize("name", sorted(nas.__all__))
def test_every_public_name_is_there_and_documented(name):
    assert getattr(nas, name).__doc__


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (UserError("trials is 0; expected at least 1"), 2, "error: trials is 0; expected at least 1\n"),
        (PermissionError(13, "Permission denied", "runs"), 2, "error: cannot use runs (Permission denied); name"),
        (SearchFailed("all failed"), 1, "error: all failed\n"),
        (KeyboardInterrupt("stopped at 3 of 9 trials"), 130, "stopped at 3 of 9 trials; run the same command again"),
        (ValueError("operands could not be broadcast"), 70, cli.REPORT_IT),
        (KeyError("boom"), 70, "KeyError: 'boom'"),
    ],
)
def test_only_what_a_user_can_mend_is_shown_as_a_mistake(raised, code, says, capsys):
    def command(argv):
        raise raised

    assert run_command(command, []) == code
    error = capsys.readouterr().err
    assert says in error
    assert ("Traceback" in error) == (code == 70)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nas.run", "--list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: cannot write all output (No space left on device); make room")


def test_an_error_in_the_users_own_code_is_not_called_our_bug(tmp_path, capsys, monkeypatch):
    (tmp_path / "slip_of_mine.py").write_text("def load():\n    return images\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    assert main_of("run", ["--data", "slip_of_mine:load", "--runs", str(tmp_path / "runs")]) == 70
    error = capsys.readouterr().err
    assert "NameError" in error
    assert "slip_of_mine.py raised this: it is not part of lensing-nas" in error
    assert cli.REPORT_IT not in error


def test_a_file_in_place_of_the_folder_of_runs_is_one_line(tmp_path, capsys):
    (tmp_path / "runs").write_text("")
    assert main_of("run", ["--images", "60", "--image-size", "16", "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_console_script_finds_modules_in_the_current_folder(tmp_path):
    (tmp_path / "my_images.py").write_text("def load():\n    raise LookupError('found and called')\n")
    script = "import sys; sys.path.remove(''); sys.argv[0] = 'nas'; from nas.__main__ import main; sys.exit(main())"
    words = ["run", "--data", "my_images:load", "--runs", str(tmp_path / "runs")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "NAS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert "found and called" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_leaves_is_no_bug(unbuffered):
    """As `nas | head -1` does."""
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(
        [sys.executable, "-m", "nas"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("name", ["nas", "search_space", "studies", "trainers"])
def test_a_file_that_hides_a_package_of_ours_is_named(name, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "start").write_text("from nas.__main__ import main\nraise SystemExit(main())\n")
    (tmp_path / "data" / name).mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for file in (f"{name}.py", f"{name}/__init__.py"):
        (tmp_path / "data" / file).write_text("raise RuntimeError('imported')")
        done = subprocess.run(
            [sys.executable, str(tmp_path / "bin" / "start"), "run", "--list"],
            cwd=tmp_path / "data", env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        path = (tmp_path / "data" / file).resolve()
        hides = path.parent if path.name == "__init__.py" else path
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {hides} hides the package {name} ")
        assert done.stderr.count("\n") == 1
        path.unlink()


@pytest.mark.parametrize("missing", [None, "nas", "studies"])
def test_the_installed_command_runs_in_a_clone(tmp_path, monkeypatch, missing):
    """Where all our packages are found, though elsewhere; a folder with some of their names is no clone."""
    for name in {*PACKAGES} - {missing}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert (shadowed() == "") is (missing is None)


def test_the_library_names_a_file_that_hides_a_package_of_ours(tmp_path):
    (tmp_path / "trainers.py").touch()
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", "import nas; nas.search"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {tmp_path / 'trainers.py'} hides the package")


def test_a_title_gives_no_orders_to_the_terminal(capsys):
    with progress_bar("Converting \x1b]0;owned\x07", 1):
        pass
    assert capsys.readouterr().err == "Converting \\x1b]0;owned\\x07\n"


def test_the_errors_of_the_lower_packages_are_mistakes_of_the_user(capsys):
    assert main_of("run", ["--study", "nosuch"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
