"""What is written by hand today: FastAPI with SQLAlchemy's asynchronous ORM, the token looked up and a row of audit in one session."""

import hashlib
import os

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE"], pool_size=16, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id_no: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    phone: Mapped[str]
    status: Mapped[str]
    area: Mapped[str]


class Application(Base):
    __tablename__ = "application"
    id: Mapped[int] = mapped_column(primary_key=True)
    token_digest: Mapped[str]
    name: Mapped[str]


class Audit(Base):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    application_id: Mapped[int]
    asked: Mapped[str]
    purpose: Mapped[str]
    rows: Mapped[int]


class Out(BaseModel):
    id_no: str
    name: str
    phone: str
    status: str


class Answer(BaseModel):
    data: list[Out]


app = FastAPI()


async def session():
    async with sessions() as opened:
        yield opened


async def caller(authorization: str = Header(""), db: AsyncSession = Depends(session)):
    digest = hashlib.sha256(authorization[7:].encode()).hexdigest()
    found = (await db.execute(select(Application).where(Application.token_digest == digest))).scalar_one_or_none()
    if found is None:
        raise HTTPException(401)
    return found


@app.get("/person", response_model=Answer)
async def person(
    id_no: str, x_purpose: str = Header(""), who: Application = Depends(caller), db: AsyncSession = Depends(session)
):
    if x_purpose not in ("housing", "social"):
        raise HTTPException(403)
    rows = (await db.execute(select(Person).where(Person.id_no == id_no, Person.area.like("620302%")))).scalars().all()
    db.add(Audit(application_id=who.id, asked=id_no, purpose=x_purpose, rows=len(rows)))
    await db.commit()
    shown = [
        Out(id_no=r.id_no, name=r.name[:1] + "**", phone=r.phone[:3] + "****" + r.phone[-4:], status=r.status)
        for r in rows
    ]
    return Answer(data=shown)
