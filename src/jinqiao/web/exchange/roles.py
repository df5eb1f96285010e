"""Who enters which page of movement; finer rules stand in exchange.rules and exchange.queries.visible."""

from jinqiao.accounts.enums import Role

WORKERS = (Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK)
SEERS = (*WORKERS, Role.HEAD, Role.BUREAU, Role.AUDITOR)
NODE_KEEPERS = (Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU)
RESTRAINERS = (*WORKERS, Role.BUREAU)
SERVICE_SEERS = (*SEERS, Role.DEVELOPER)
SERVICE_KEEPERS = (Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU)
ADMINISTRATORS = (Role.DEPARTMENT_ADMINISTRATOR,)
ALERT_WORKERS = (*WORKERS, Role.BUREAU)
ALERT_SEERS = (*ALERT_WORKERS, Role.AUDITOR)
"""Who takes note of an alert."""
CHANNEL_KEEPERS = (*NODE_KEEPERS, Role.AUDITOR)
KEY_KEEPERS = (Role.SECURITY_ADMINISTRATOR,)
"""Who looks after the city's key of persons."""
PACK_TAKERS = (Role.BUREAU, Role.AUDITOR)
"""Who exports evidence of whole periods."""
AUTHORITY = (Role.BUREAU,)
"""Who announces samplings and answers a person's right of access."""
