"""Which roles may enter which pages of sharing; what a post may do with one request its rules say."""

from jinqiao.accounts.enums import Role
from jinqiao.sharing.rules import STAFF

STAFF_ROLES: tuple[Role, ...] = tuple(sorted(STAFF))
VIEWERS: tuple[Role, ...] = (*STAFF_ROLES, Role.HEAD, Role.BUREAU, Role.AUDITOR, Role.DEVELOPER)
