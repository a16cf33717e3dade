"""Finds decoders that multiply their memory by weights. They must not: the encoder computes keys and values of the
memory, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from runtime.errors import BundleError


class Node(NamedTuple):
    """One operator of a graph, in any format."""

    kind: str
    inputs: list[str]
    outputs: list[str]


def memory_products(
    nodes: Iterable[Node], weights: Collection[str], memory: Collection[str], products: Collection[str]
) -> list[str]:
    """Weights that the memory is multiplied by: there should be none.

    Follows the memory until it meets another value that depends on the token.

    Args:
        nodes: producers before consumers.
        weights: names of constants.
        memory: names of the cross-attention inputs.
        products: kinds of operators that multiply by weights.
    """
    constants, followed, found = set(weights), set(memory), list[str]()
    for node in nodes:
        if not followed.intersection(node.inputs):
            if node.inputs and constants.issuperset(node.inputs):
                constants.update(node.outputs)
            continue
        weights_read = [name for name in node.inputs if name in constants]
        if weights_read and node.kind in products:
            found.append(weights_read[0])
        if all(name in followed or name in constants for name in node.inputs):
            followed.update(node.outputs)
    return found


def refuse_weights(where: str, found: Sequence[str]) -> None:
    """Refuse a decoder for what `memory_products` found in it.

    Raises:
        BundleError: it found something.
    """
    if found:
        raise BundleError(
            f"{where} multiplies the memory by the weights {found[0]!r} at every step; "
            "cross-attention keys and values belong into the encoder"
        )
