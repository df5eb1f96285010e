# Sourced by ./run and ./test: makes .venv and node_modules as the lock files say. Done once; a stamp remembers for what.
# Needs Python 3.11 or newer; installs what else is missing when it may (as root on Debian), or prints the one command to type.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

install_debian() { # package… — installs them when root, else names the command
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "安装系统软件包 Installing Debian packages: $*"
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 \
      || fail "安装失败 Could not install: $*"
  else
    fail "请先执行 Please run this first:  sudo apt-get install -y --no-install-recommends $*"
  fi
}

find_python() {
  for name in python3.11 python3.12 python3.13 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
}

stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

setup() { # requirements file
  local requirements=$1 python stamp
  stamp=$(stamp_of "$requirements" pyproject.toml package-lock.json tools/setup.sh)
  [ -f .venv/.stamp ] && [ "$(cat .venv/.stamp)" = "$stamp" ] && [ -d node_modules/htmx.org ] && return
  # What ./test installed holds everything that ./run needs.
  if [ "$requirements" = requirements/run.txt ] && [ -f .venv/.stamp ] && [ -d node_modules/htmx.org ] \
    && [ "$(cat .venv/.stamp)" = "$(stamp_of requirements/test.txt pyproject.toml package-lock.json tools/setup.sh)" ]; then
    return
  fi
  python=$(find_python)
  if [ -z "$python" ]; then
    install_debian python3 python3-venv
    python=$(find_python)
    [ -n "$python" ] || fail "需要 Python 3.11 或更新版本。Python 3.11 or newer is needed."
  fi
  if [ ! -x .venv/bin/pip ]; then
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      install_debian python3-venv
    fi
    say "准备 Python 环境 Making the Python environment…"
    "$python" -m venv --clear .venv || fail "不能建立 .venv Could not make .venv"
  fi
  say "安装依赖（首次约几分钟）Installing dependencies (a few minutes the first time)…"
  .venv/bin/pip install -q --require-hashes -r "$requirements" || fail "依赖安装失败 Installing dependencies failed"
  .venv/bin/pip install -q --no-deps --no-build-isolation -e . || fail "不能安装本项目 Installing the project failed"
  if command -v npm >/dev/null; then
    npm ci --silent --no-audit --no-fund >/dev/null || fail "页面资源安装失败 Installing page assets failed"
  else
    .venv/bin/pip install -q --require-hashes -r requirements/assets.txt || fail "页面资源安装失败 Installing page assets failed"
    PATH="$PWD/.venv/bin:$PATH" .venv/bin/npm ci --silent --no-audit --no-fund >/dev/null \
      || fail "页面资源安装失败 Installing page assets failed"
  fi
  echo "$stamp" > .venv/.stamp
}
