"""Print the path of `uv`: the one on the PATH, or one of our own in `.uv/`, installed on first use.

Runs on any Python 3 with nothing installed. A fresh Debian has neither pip nor ensurepip, and its
pip refuses to install into the system (PEP 668); so there are three ways, and the first that works
wins. The last needs only the standard library and the registry that `uv.lock` names.
"""

from __future__ import annotations

import hashlib
import io
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".uv"
REQUIREMENT = "uv>=0.8"


def works(uv: Path | str | None) -> bool:
    """A pyenv shim is on the PATH even where no uv is behind it: so ask it."""
    if uv is None:
        return False
    try:
        subprocess.run([str(uv), "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def with_pip() -> None:
    """`--target` is neither the system nor a venv, so PEP 668 does not apply to it."""
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(HOME), REQUIREMENT)


def with_venv() -> None:
    _run(sys.executable, "-m", "venv", str(HOME))
    _run(str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", REQUIREMENT)


def with_download() -> None:
    """The newest release's wheel, checked against the registry's SHA-256."""
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    registry = re.findall(r'registry = "(https://[^"]+)"', lock)[0]
    index = f"{registry.rstrip('/')}/uv/"
    system = {"Linux": "manylinux", "Darwin": "macosx"}[platform.system()]
    wheel = rf'href="([^"]+/uv-[\d.]+-py3-none-{system}[^"/]*_{platform.machine()}\.whl)'
    page = _read(index).decode()
    found = re.findall(wheel + r"#sha256=([0-9a-f]{64})", page)
    if not found:
        raise OSError(f"{index}: no wheel for {system} {platform.machine()}")
    url, sha256 = found[-1]
    content = _read(urllib.parse.urljoin(index, url))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OSError(f"{url}: its SHA-256 is not {sha256}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        (HOME / "bin").mkdir(parents=True)
        (HOME / "bin" / "uv").write_bytes(archive.read(name))
    (HOME / "bin" / "uv").chmod(0o755)


def install(uv: Path) -> None:
    """Try each way in an empty folder; says why if none works."""
    reasons = []
    for way in (with_pip, with_venv, with_download):
        shutil.rmtree(HOME, ignore_errors=True)
        try:
            way()
        except (OSError, LookupError, subprocess.CalledProcessError) as error:
            output = (getattr(error, "stderr", None) or str(error)).strip()
            reasons.append(f"  {way.__name__}: {output.splitlines()[-1] if output else error}")
            continue
        if works(uv):
            (HOME / ".gitignore").write_text("*\n", encoding="utf-8")
            return
        reasons.append(f"  {way.__name__}: {uv} does not run")
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(
        "There is no `uv` on the PATH, and it could not be installed into .uv/:\n"
        + "\n".join(reasons)
        + "\nInstall it (https://docs.astral.sh/uv), or give Python a pip: on Debian and Ubuntu, "
        "`apt-get install python3-pip` or `python3-venv`. Then run this again."
    )


def main() -> None:
    own = HOME / "bin" / "uv"
    on_path = shutil.which("uv")
    if works(on_path):
        print(on_path)
        return
    if not works(own):
        print("Installing uv into .uv/ …", file=sys.stderr)
        install(own)
    print(own)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _read(url: str) -> bytes:
    if not url.startswith("https://"):
        raise OSError(f"{url}: not https")
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - https, just checked
        return bytes(answer.read())


if __name__ == "__main__":
    main()
