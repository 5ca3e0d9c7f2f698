"""How many steps of input a network really takes: what a method's card says of that, made a number."""

import ast
import re


def input_steps(latency: str, T: int, layers: int) -> int | None:
    """Steps of input that T steps of output take, from a card's `latency`: "T", "T + 4", "2 T", "T + L", "4 (T + 1)".

    layers   L, neuron layers of the network

    None where the words are no such formula: a number is not guessed.
    """
    # a number or a bracket, then a letter or a bracket: multiplied
    written = re.sub(r"(?<=[\d)])\s*(?=[TL(])", " * ", latency.strip())
    try:
        found = _value(ast.parse(written, mode="eval").body, {"T": T, "L": layers})
    except (SyntaxError, ValueError):
        return None
    return found if found >= 1 else None


def _value(node: ast.expr, names: dict[str, int]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, names), _value(node.right, names)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
    raise ValueError(f"no formula of T: {ast.unparse(node)}")
