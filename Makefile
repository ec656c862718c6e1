# Every target can be run again. PYTHON is Debian's, so that what works here works from the package.
PYTHON ?= /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin
XDIST  ?= 2

# What mxguard works with on a mail host, and what its tests and the demo stand up beside it.
RUNTIME_PACKAGES := python3 python3-venv nftables iproute2 iptables ipset postfix
DEMO_PACKAGES    := nsd fail2ban
TEST_PACKAGES    := $(DEMO_PACKAGES) postfix-ldap postfix-mysql postfix-pcre unbound ldnsutils bind9-dnsutils tcpdump openssl procps xz-utils zstd systemd-journal-remote \
                    firewalld ufw dbus mandoc man-db zsh fish bash-completion chromium chromium-driver prometheus
# What builds the Debian package, and what its tests install it on.
DEB_PACKAGES     := debhelper dh-python dpkg-dev python3-attr python3-click python3-dnspython
DEB_TEST_PACKAGES := $(DEB_PACKAGES) debootstrap lintian
# The libraries as Debian has them, older than the index's: the unit tests run on both.
DEBIAN_LIBRARIES := python3-attr python3-click python3-dnspython python3-rich \
                    python3-pytest python3-pytest-xdist python3-hypothesis python3-yaml

.PHONY: help
help:
	@echo "make demo     the main job, on a mail host in network namespaces (root)"
	@echo "make test     every check and test (root)"
	@echo "make venv     .venv/bin/mxguard"
	@echo "make unit     the fast tests; make unit-debian: on Debian's own libraries"
	@echo "make real     the tests on real nftables, Postfix and name servers (root)"
	@echo "make deb      dist/mxguard_VERSION_all.deb"
	@echo "make lint     ruff, mypy strict"
	@echo "make bench    the benchmarks"
	@echo "make man      manual pages and shell completions, in build/"
	@echo "make docs     the same, and README's table of checks"
	@echo "make collection  the Ansible collection, in dist/"

.PHONY: packages
packages:
	@packaging/install-packages $(RUNTIME_PACKAGES)

.PHONY: test-packages
test-packages:
	@packaging/install-packages $(RUNTIME_PACKAGES) $(TEST_PACKAGES) $(DEB_TEST_PACKAGES)

.PHONY: venv
venv: $(VENV)/.done

$(VENV)/.done: pyproject.toml | packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: lint
lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: unit
unit: venv
	$(BIN)/pytest -n $(XDIST) tests/unit

.PHONY: unit-debian
unit-debian: venv
	@packaging/install-packages $(DEBIAN_LIBRARIES)
	$(PYTHON) -m pytest -n $(XDIST) tests/unit

.PHONY: real
real: venv test-packages
	$(BIN)/pytest -n $(XDIST) -rsxX tests/real

.PHONY: test
test: lint unit unit-debian real

.PHONY: man
man: venv
	$(BIN)/python -m tools.documentation build build

.PHONY: docs
docs: man
	$(BIN)/python -m tools.documentation readme

.PHONY: collection
collection: venv
	@$(BIN)/python packaging/ansible/build dist

.PHONY: bench
bench: venv test-packages
	$(BIN)/python -m tests.bench

.PHONY: demo
demo: venv
	@packaging/install-packages $(DEMO_PACKAGES)
	@$(BIN)/python -m demo

.PHONY: deb
deb:
	@packaging/install-packages $(DEB_PACKAGES)
	@$(PYTHON) packaging/build_deb.py

.PHONY: clean
clean:
	rm -rf $(VENV) .venv-debian build dist
