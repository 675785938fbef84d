"""The text form of captures: notes after '#', then one line `label hex` for every piece of bytes."""


class HexFile:
    def __init__(self, note):
        self.lines = [f"# {line}".rstrip() for line in note.strip().splitlines()] + [""]
        self.labels = set()

    def add(self, label, data):
        assert " " not in label and label not in self.labels, label
        self.labels.add(label)
        self.lines.append(f"{label} {data.hex()}")

    def write(self, path):
        path.write_text("\n".join(self.lines) + "\n")
