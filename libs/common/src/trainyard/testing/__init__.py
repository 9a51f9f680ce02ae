"""Test tools that ship with the library: fakes, contract suites, emulators on a free port and faults to order."""
