"""What both planes share: errors, identifiers, rules, clocks, cryptography, contracts. Plain Python."""
