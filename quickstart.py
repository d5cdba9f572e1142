"""One command from a fresh clone: make the environment, then render the figures or run the tests.

Needs nothing but Python 3.11 or newer:

    python3 quickstart.py figures        figures and report at laptop scale, from bundled real data
    python3 quickstart.py test           all tests and checks
    python3 quickstart.py environment    nothing but the environment, as on a cluster

The environment is .venv in this folder, with the exact versions of envs/perigee.lock.txt. It is
made once and kept until that file changes. Further arguments are passed on to snakemake or pytest.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "envs" / "perigee.lock.txt"
OLDEST_PYTHON = (3, 11)


def executable(name: str) -> str:
    """Path of a program in the environment."""
    return str(ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / name)


def make_environment() -> None:
    """Create .venv and install the locked packages and this one, unless that is done already."""
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    mark = ENVIRONMENT / "perigee-lock.sha256"
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return
    print(f"Making the environment in {ENVIRONMENT} (some minutes, about 6 GB on Linux) ...")
    # One that this program made is made anew; anything else that stands there is kept.
    venv.create(ENVIRONMENT, with_pip=True, clear=mark.is_file())
    pip = [executable("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--requirement", LOCK], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    mark.write_text(wanted, encoding="utf-8")


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
        print(f"Installing failed: see the messages above (exit status {error.returncode}).")
        return 1
    if arguments.what == "environment":
        print(f"The environment is made: source {ENVIRONMENT / 'bin' / 'activate'}")
        return 0
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(executable("python")).parent), os.environ["PATH"]])
    }
    command = {
        "figures": [executable("snakemake"), "report"],
        "test": [executable("python"), "-m", "pytest", "-m", ""],
    }[arguments.what]
    status = subprocess.run([*command, *passed_on], cwd=ROOT, env=environment).returncode
    if arguments.what == "figures" and status == 0:
        print(f"The figures are in {ROOT / 'results' / 'laptop' / 'figures'}.")
    return status


if __name__ == "__main__":
    sys.exit(main())
