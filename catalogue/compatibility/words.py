"""The rules by name, and a sentence for each: what breaks, for whom, and what to do about it."""

from typing import Literal, NamedTuple

Direction = Literal["forward", "backward"]


class Said(NamedTuple):
    rule: str
    sentence: str


class Rule(NamedTuple):
    """Forward: new messages, consumers that run today. Backward: old messages, new consumers."""

    forward: Said
    backward: Said


_TODAY = "consumers that run today"
_REPLAY = "new consumers that replay old messages"

RULES: dict[str, Rule] = {
    "required": Rule(
        Said(
            "required_removed",
            f"`{{name}}` was in every message and is gone: {_TODAY} rely on it. "
            "Keep it as a required property.",
        ),
        Said(
            "required_added",
            f"`{{name}}` is new and required, and old messages don't have it: {_REPLAY} refuse "
            "them. Make it optional.",
        ),
    ),
    "optional": Rule(
        Said(
            "required_to_optional",
            f"`{{name}}` was required and may be missing now: {_TODAY} rely on it. "
            "Keep it required.",
        ),
        Said(
            "optional_to_required",
            f"`{{name}}` was optional and is required now, and old messages may lack it: "
            f"{_REPLAY} refuse them. Keep it optional.",
        ),
    ),
    "type": Rule(
        Said(
            "type_added",
            f"{{over}} may come now where {{taken}} came: {_TODAY} don't expect it. "
            "Keep the type, or put the new kind of value into a new optional property.",
        ),
        Said(
            "type_removed",
            f"{{over}} may be in old messages where {{taken}} is taken now: {_REPLAY} refuse it. "
            "Keep the type.",
        ),
    ),
    "other_type": Rule(
        Said(
            "type_changed",
            f"{{coming}} comes now where {{taken}} came: {_TODAY} don't expect it. "
            "Leave this property as it is, and put the new kind of value into a new optional one.",
        ),
        Said(
            "type_changed",
            f"{{coming}} is in old messages where {{taken}} is taken now: {_REPLAY} refuse it. "
            "Leave this property as it is, and put the new kind of value into a new optional one.",
        ),
    ),
    "integer": Rule(
        Said(
            "integer_to_number",
            f"numbers with a fraction may come now where integers came: {_TODAY} don't expect "
            "them. Keep the type integer, or put the number into a new optional property.",
        ),
        Said(
            "number_to_integer",
            f"old messages may have numbers with a fraction where only integers are taken now: "
            f"{_REPLAY} refuse them. Keep the type number.",
        ),
    ),
    "enum_value": Rule(
        Said(
            "enum_value_added",
            f"{{values}} may come now and did not before: {_TODAY} don't know it. "
            "Keep the list, or put the new value into a new optional property.",
        ),
        Said(
            "enum_value_removed",
            f"{{values}} may be in old messages and is not in the list any more: {_REPLAY} refuse "
            "it. Keep the value in the list.",
        ),
    ),
    "listed": Rule(
        Said(
            "enum_removed",
            f"only listed values came, and others may come now: {_TODAY} don't know them. "
            "Keep the list.",
        ),
        Said(
            "enum_added",
            f"only listed values are taken now, and old messages may have others: {_REPLAY} "
            "refuse them. Leave the list out.",
        ),
    ),
    "bound": Rule(
        Said(
            "bound_widened",
            f"`{{keyword}}` was {{limit}}, and what comes now may go beyond: {_TODAY} don't "
            "expect it. Keep the bound.",
        ),
        Said(
            "bound_narrowed",
            f"`{{keyword}}` is {{limit}} now, and old messages may go beyond: {_REPLAY} refuse "
            "them. Keep the former bound, or leave it out.",
        ),
    ),
    "pattern": Rule(
        Said(
            "pattern_removed",
            f"every text fitted the pattern {{pattern}}, and others may come now: {_TODAY} don't "
            "expect them. Keep the pattern.",
        ),
        Said(
            "pattern_added",
            f"only texts that fit the pattern {{pattern}} are taken now, and old messages may "
            f"have others: {_REPLAY} refuse them. Leave the pattern out.",
        ),
    ),
    "format": Rule(
        Said(
            "format_removed",
            f"every text was a {{format}}, and others may come now: {_TODAY} don't expect them. "
            "Keep the format.",
        ),
        Said(
            "format_added",
            f"only a {{format}} is taken now, and old messages may have other texts: {_REPLAY} "
            "refuse them. Leave the format out.",
        ),
    ),
    "unique_items": Rule(
        Said(
            "unique_items_removed",
            f"no item came twice, and one may now: {_TODAY} rely on it. Keep `uniqueItems`.",
        ),
        Said(
            "unique_items_added",
            f"no item may come twice now, and one may in old messages: {_REPLAY} refuse them. "
            "Leave `uniqueItems` out.",
        ),
    ),
    "contains": Rule(
        Said(
            "contains_removed",
            f"certain items were in every array, and may be missing now: {_TODAY} rely on them. "
            "Keep `contains` as it was.",
        ),
        Said(
            "contains_added",
            f"certain items have to be in every array now, and old messages may lack them: "
            f"{_REPLAY} refuse them. Keep `contains` as it was.",
        ),
    ),
    "anything": Rule(
        Said(
            "any_value_added",
            f"{{name}} may be anything now, and {_TODAY} take only some values. "
            "Say of it what was said.",
        ),
        Said(
            "any_value_removed",
            f"{{name}} may be anything in old messages, and {_REPLAY} take only some values. "
            "Leave it so, or choose another name for what is new.",
        ),
    ),
    "refused": Rule(
        Said(
            "property_added",
            f"{{name}} may come now: {_TODAY} refuse it here. Leave it out.",
        ),
        Said(
            "property_removed",
            f"{{name}} may be in old messages: {_REPLAY} refuse it here. Keep it declared.",
        ),
    ),
    "names": Rule(
        Said(
            "property_names_widened",
            f"properties of other names may come now: {_TODAY} refuse them. "
            "Keep `propertyNames` as it was.",
        ),
        Said(
            "property_names_narrowed",
            f"old messages may have properties of names that are not taken any more: {_REPLAY} "
            "refuse them. Keep `propertyNames` as it was.",
        ),
    ),
    "dependent_required": Rule(
        Said(
            "dependent_required_removed",
            f"`{{name}}` came with {{needs}}, and may come without now: {_TODAY} rely on it. "
            "Keep `dependentRequired`.",
        ),
        Said(
            "dependent_required_added",
            f"`{{name}}` has to come with {{needs}} now, and may be without in old messages: "
            f"{_REPLAY} refuse them. Leave `dependentRequired` as it was.",
        ),
    ),
    "branch": Rule(
        Said(
            "branch_added",
            f"what comes by this branch now fits none of the branches of the former `{{keyword}}`: "
            f"{_TODAY} don't expect it. Leave the branches as they were.",
        ),
        Said(
            "branch_removed",
            f"old messages of this branch fit none of the branches of `{{keyword}}` any more: "
            f"{_REPLAY} refuse them. Keep the branch.",
        ),
    ),
    "nothing": Rule(
        Said(
            "value_added",
            f"something may come now where nothing could: {_TODAY} refuse it. "
            "Leave the schema as it was.",
        ),
        Said(
            "value_removed",
            f"old messages may have something where nothing is taken any more: {_REPLAY} refuse "
            "them. Leave the schema as it was.",
        ),
    ),
    "cannot_be_shown": Rule(
        Said(
            "cannot_be_shown",
            f"it can't be shown {{what}}, so it counts as breaking {_TODAY}. "
            "Leave this part as it was.",
        ),
        Said(
            "cannot_be_shown",
            f"it can't be shown of old messages {{what}}, so it counts as breaking {_REPLAY}. "
            "Leave this part as it was.",
        ),
    ),
}
