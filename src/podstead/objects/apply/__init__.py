"""Server-side apply: who owns which field of an object, and what an applied configuration makes of it (KEP-555).

fieldset     sets of fields as FieldsV1 trees: union, difference, intersection, canonical order, paths
shapes       how a kind's values are walked: what is a leaf, which lists are maps or sets
compare      two objects into removed, modified and added fields
merging      a configuration's own fields, its merge into the live object, removal of fields
managers     metadata.managedFields: who owns what, after a write or an apply
conflicts    the 409 of an apply

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from podstead.objects.apply.managers import Manager, applied, created, updated

__all__ = ["Manager", "applied", "created", "updated"]
