"""One command from a fresh clone: make the environment, then render the figures or run the tests.

Needs nothing but Python 3.11 or newer:

    python3 quickstart.py figures        figures and report at laptop scale, from bundled real data
    python3 quickstart.py test           all tests and checks
    python3 quickstart.py environment    nothing but the environment, as on a cluster

The environment is .venv in this folder, with the exact versions of envs/perigee.lock.txt. It is
made once and kept until that file changes; in a renamed or copied folder it is mended. `figures`
takes --paper periodic to make one paper alone. Further arguments are passed on to snakemake or
pytest.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "envs" / "perigee.lock.txt"
MARK = ENVIRONMENT / "perigee-lock.sha256"
"""The digest of what the environment was made from, and the folder that it was made in."""

PIP_LOG = ENVIRONMENT / "pip.log"
LAST_LINES = 25
OLDEST_PYTHON = (3, 11)


def executable(name: str) -> str:
    """Path of a program in the environment."""
    return str(ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / name)


def make_environment() -> None:
    """Create .venv and install the locked packages and this one, unless that is done already.

    Raises:
        subprocess.CalledProcessError: installing failed; `PIP_LOG` tells why.
    """
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    made, _, folder = (
        MARK.read_text(encoding="utf-8").partition("\n") if MARK.is_file() else ("", "", "")
    )
    if made != wanted:
        print(f"Making the environment in {ENVIRONMENT}: some minutes, about 6 GB on Linux ...")
        # One that this program made is made anew; anything else that stands there is kept.
        venv.create(ENVIRONMENT, with_pip=True, clear=MARK.is_file())
        pip("--no-compile", "--require-hashes", "--requirement", LOCK)
        # On all cores, where pip would take one; some files are for other versions of Python.
        compile_all = [executable("python"), "-m", "compileall", "-qq", "-j", "0", ENVIRONMENT]
        subprocess.run(compile_all, check=False)
    elif folder in ("", str(ROOT)):
        return
    else:
        print(f"This folder was {folder} before: mending its environment ...")
        mend_programs(folder)
    pip("--no-deps", "--no-build-isolation", "--editable", ROOT)
    MARK.write_text(f"{wanted}\n{ROOT}", encoding="utf-8")


def pip(*arguments: str | Path) -> None:
    """Install something, with all that pip prints in `PIP_LOG`."""
    command = [executable("python"), "-m", "pip", "install", "--disable-pip-version-check"]
    with PIP_LOG.open("a", encoding="utf-8") as log:
        subprocess.run([*command, *arguments], check=True, stdout=log, stderr=subprocess.STDOUT)


def mend_programs(folder: str) -> None:
    """Give the environment's programs, which name its Python by path, the folder it is in now."""
    old, new = str(Path(folder) / ENVIRONMENT.name).encode(), str(ENVIRONMENT).encode()
    for program in Path(executable("python")).parent.iterdir():
        if program.is_file() and not program.is_symlink():
            text = program.read_bytes()
            if old in text and b"\0" not in text:
                program.write_bytes(text.replace(old, new))


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["figures", "test", "environment"])
    arguments, passed_on = parser.parse_known_args()
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        print(f"Perigee needs Python {wanted} or newer; this is {sys.version.split()[0]}.")
        return 1
    try:
        make_environment()
    except subprocess.CalledProcessError as error:
        said = PIP_LOG.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*said[-LAST_LINES:], sep="\n")
        print(f"Installing failed ({error.returncode}); these are the last lines of {PIP_LOG}.")
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on.")
        return 130
    if arguments.what == "environment":
        print(f"The environment is made: source {ENVIRONMENT / 'bin' / 'activate'}")
        return 0
    return start(arguments.what, passed_on)


def start(what: str, passed_on: list[str]) -> NoReturn:
    """Become the program that makes figures, or tests, so that signals reach it alone."""
    python = executable("python")
    programs = {"figures": ["perigee.quickstart"], "test": ["pytest", "-m", ""]}
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "workflow"),  # and nothing that is meant for another Python
    }
    if what == "test":
        os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(python, [python, "-u", "-m", *programs[what], *passed_on], environment)


if __name__ == "__main__":
    sys.exit(main())
