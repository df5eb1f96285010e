"""Reading accounts."""

from jinqiao.accounts.models import Person, Post


def acting_post(person: Person, post_id: int | None) -> Post | None:
    posts = person.posts.select_related("organisation", "person", "section")
    return posts.filter(pk=post_id).first() or posts.first()
