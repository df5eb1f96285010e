"""OpenAPI 3.1 of what one application may ask, made from policy contracts: both planes give the same document.

document(application, services, root=…, language="zh") -> dict
question_schema / answer_schema(service, operation) -> dict        JSON Schema 2020-12 of bodies
"""

from jinqiao.kernel.openapi.document import document
from jinqiao.kernel.openapi.schemas import answer_schema, question_schema

__all__ = ["answer_schema", "document", "question_schema"]
