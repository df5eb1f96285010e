"""Which roles may enter which pages of the catalogue; what a post may do with one entry its rules say."""

from jinqiao.accounts.enums import Role
from jinqiao.catalogue.rules import COMPILERS

COMPILER_ROLES: tuple[Role, ...] = tuple(sorted(COMPILERS))
DEPARTMENT_ROLES: tuple[Role, ...] = (*COMPILER_ROLES, Role.DEPARTMENT_ADMINISTRATOR, Role.HEAD, Role.BUREAU)
"""Who works on entries of an organisation: compiles, reviews, signs, publishes."""

REVIEW_READERS: tuple[Role, ...] = (*DEPARTMENT_ROLES, Role.AUDITOR)
