"""The process that runs the answers.  It is started as a file of its own, without the course's library, and gets as
messages: the answers' source, then calls with plain data. It sends back what the answers return. What would be right it
never learns.
"""

import builtins
import importlib
import linecache
import os
import sys
import traceback
import types


def functions(ask):
    """(number -> a function that lives in the marking process, function -> its number)."""
    numbers = {}

    def given(number):
        def function(*args, **kwargs):
            return ask(number, args, kwargs)

        numbers[function] = number
        return function

    return given, lambda function: numbers.get(function) if isinstance(function, types.FunctionType) else None


def asking(plain, send, answer):
    """`ask(number, args, kwargs)`: call a function of the marking process, so that torch can differentiate it too."""

    def exchange(number, path, skeleton, tensors):
        send({"is": "ask", "number": number, "path": path, "args": skeleton}, tensors)
        head, tensors = answer()
        if "error" in head:
            raise exception(*head["error"])
        return head["value"], tensors

    remote = []  # the torch.autograd.Function below; made when it is first needed

    def differentiable():
        import torch

        class Remote(torch.autograd.Function):
            """A function elsewhere. Its derivatives are functions elsewhere too: `path` says which one is meant."""

            @staticmethod
            def forward(number, path, skeleton, *xs):
                tensors = exchange(number, path, skeleton, xs)[1]
                return tuple(t.detach() for t in tensors)

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.number, ctx.path, ctx.skeleton, *xs = inputs
                ctx.save_for_backward(*xs)
                ctx.save_for_forward(*xs)

            @staticmethod
            def backward(ctx, *gs):
                xs = ctx.saved_tensors
                return (
                    None,
                    None,
                    None,
                    *Remote.apply(ctx.number, [*ctx.path, ["vjp", len(xs)]], ctx.skeleton, *xs, *gs),
                )

            @staticmethod
            def jvp(ctx, *ts):
                xs = ctx.saved_tensors
                ts = [torch.zeros_like(x) if t is None else t for x, t in zip(xs, ts[3:])]
                return Remote.apply(ctx.number, [*ctx.path, ["jvp", len(xs)]], ctx.skeleton, *xs, *ts)

            @staticmethod
            def vmap(info, in_dims, number, path, skeleton, *xs):
                def one(i):
                    return Remote.apply(
                        number, path, skeleton, *(x if d is None else x.select(d, i) for x, d in zip(xs, in_dims[3:]))
                    )

                rows = zip(*map(one, range(info.batch_size)))
                outputs = tuple(map(torch.stack, rows))
                return outputs, (0,) * len(outputs)

        return Remote

    def ask(number, args, kwargs):
        skeleton, xs = plain.pack([args, kwargs], number_of)
        torch = sys.modules.get("torch")
        if torch and xs and any(x.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(x) for x in xs):
            remote or remote.append(differentiable())
            outputs = remote[0].apply(number, [], skeleton, *xs)
            return outputs[0] if len(outputs) == 1 else outputs
        return plain.unpack(*exchange(number, [], skeleton, xs), given)

    given, number_of = functions(ask)
    return given, number_of


def exception(name, text):
    """An exception of the built-in type with this name, where there is one."""
    kind = getattr(builtins, name, None)
    try:
        return kind(text) if issubclass(kind, Exception) else RuntimeError(text)
    except TypeError:
        return RuntimeError(text)


def described(error, function):
    """What the marking process learns about an exception: its type, text, the answer's line, whether nothing is
    written.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    lines = [
        linecache.getline("<answer>", number).strip()
        for frame, number in frames
        if frame.f_code.co_filename == "<answer>"
    ]
    bare = isinstance(error, NotImplementedError) and not error.args
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return {
        "type": type(error).__name__,
        "text": text[:500],
        "line": (lines or [""])[-1][:200],
        "empty": bare and frames[-1][0].f_code is getattr(function, "__code__", None),
    }


def load(source):
    """(names of the answers' module, what failed). Statement by statement, so that a line that fails does not take the
    others with it; under the name that a notebook has.
    """
    import __future__

    import ast

    linecache.cache["<answer>"] = (len(source), None, [line + "\n" for line in source.split("\n")], "<answer>")
    sys.modules["__main__"] = types.ModuleType("__main__")
    namespace, failed, flags = vars(sys.modules["__main__"]), [], 0
    namespace["display"] = lambda *things, **options: None  # a notebook has it, and there is nothing to show here
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            for alias in statement.names:
                flags |= getattr(__future__, alias.name).compiler_flag
        try:
            exec(compile(ast.Module([statement], type_ignores=[]), "<answer>", "exec", flags, True), namespace)
        except BaseException as error:
            names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names += [(a.asname or a.name).split(".")[0] for a in getattr(statement, "names", ())]
            names = [getattr(statement, "name", None), *names]
            names = ", ".join(dict.fromkeys(n for n in names if isinstance(n, str)))
            failed.append(f"{names or 'a statement'} ({type(error).__name__}: {error})"[:300])
    return namespace, failed


def warm():
    """Take a second derivative through a function of one's own, which imports hundreds of modules: that is not the
    answer's time."""
    import torch

    class Same(torch.autograd.Function):
        generate_vmap_rule = True
        forward = staticmethod(lambda x: x.clone())
        setup_context = staticmethod(lambda ctx, inputs, output: None)
        backward = staticmethod(lambda ctx, g: Same.apply(g))
        jvp = staticmethod(lambda ctx, t: Same.apply(t))

    point = torch.ones(2)
    torch.func.hessian(lambda x: Same.apply(x).sin().sum())(point)
    torch.func.vjp(torch.sin, point)


def main():
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)  # what an answer prints goes nowhere
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import limits
    import plain

    sys.path.pop(0)

    def send(head, tensors=()):
        outgoing.write(plain.message(head, tensors))
        outgoing.flush()

    def receive():
        arrived = plain.receive(incoming)
        return arrived if arrived else os._exit(0)

    start, _ = receive()
    if start["become_nobody"]:
        limits.become_nobody()
    os.chdir(os.environ["HOME"])  # its own folder
    sys.path += start["packages"]
    for name in start["preload"]:  # before the limits: importing is not the answer's time
        importlib.import_module(name)
    torch = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)
    if "torch.func" in start["preload"]:
        warm()
    limits.limit(start["memory"], start["seconds"])
    given, number_of = asking(plain, send, receive)
    send({"is": "ready"})
    namespace, failed = load(start["source"])
    send({"is": "loaded", "failed": failed})
    while True:
        head, tensors = receive()
        function = namespace.get(head["name"])
        try:
            if function is None:
                raise NameError(f"there is no function {head['name']!r}")
            args, kwargs = plain.unpack(head["args"], tensors, given)
            before = plain.pack([args, kwargs], number_of)
            before = before[0], [plain.raw(t) for t in before[1]]
            value, tensors = plain.pack(function(*args, **kwargs), number_of)
            after, changed = plain.pack([args, kwargs], number_of)
            if (after, [plain.raw(t) for t in changed]) == before:
                after, changed = None, []
            # arguments that were changed in place go back too: a check may want to know
            after = after and shifted(after, len(tensors))
            send({"is": "result", "call": head["call"], "value": value, "after": after}, [*tensors, *changed])
        except BaseException as error:
            send({"is": "error", "call": head["call"], **described(error, function)})


def shifted(skeleton, by):
    """A skeleton whose tensors are numbered from `by` on."""
    if isinstance(skeleton, list):
        return [shifted(x, by) for x in skeleton]
    if isinstance(skeleton, dict):
        return {k: v + by if k in ("tensor", "array", "generator") else shifted(v, by) for k, v in skeleton.items()}
    return skeleton


if __name__ == "__main__":
    main()
