// SPDX-License-Identifier: MPL-2.0

//! Mutations of code, which libtorch compiles and runs.

use crate::draw::Draw;

/// What TorchScript knows, and what it may trip over.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "torch.narrow", "torch.as_strided", "torch.empty", "torch.zeros", "torch.reshape", "torch.expand", "torch.index_select",
    "torch.embedding", "torch.lstm", "torch.conv3d", "torch.max_pool3d", "torch.avg_pool3d", "torch.unfold", "torch.cat",
    "torch.matmul", "torch.linear", "torch.permute", "torch.flatten", "torch.to", "torch.repeat", "torch.gather",
    "torch.upsample_nearest3d", "torch.batch_norm", "torch.set_", "torch.resize_", "torch.scatter", "CONSTANTS.c0",
    "CONSTANTS.c99", "self", "argument_1", "None", "True", "False", "Tensor", "int", "List[int]", "Optional[Tensor]",
    "Tuple[Tensor, Tensor]", "NoneType", "annotate(List[int], [])", "unchecked_cast(int, None)", "torch.len", "ops.prim.data",
    "ops.prim.NumToTensor", "inf", "\"\"", "-1", "0", "1e400", "[]", "()", "{}", "(", ")", "[", "]", ",", ":", ".", "=", "return",
    "while True:\n    pass\n", "if True:\n", "def forward(self, x):\n", "class A(Module):\n", "del _0", "\n", "    ", "  ", "#", "\\", "\0",
    "\u{fffd}", "lambda x: x", "raise AssertionError",
];

/// Other words in other places.
pub fn mutated(code: &str, draw: &mut Draw) -> String {
    let mut tokens: Vec<String> = tokens(code);
    for _ in 0..1 + draw.within(0..3) {
        let at = draw.within(0..tokens.len());
        let other = match draw.once_in(2) {
            true => (*draw.pick(WORDS)).to_owned(),
            false => draw.pick(&tokens).clone(),
        };
        match draw.within(0..4) {
            0 => tokens.insert(at, other),
            1 => drop(tokens.remove(at)),
            _ => tokens[at] = other,
        }
    }
    tokens.concat()
}

/// Other lines in other places.
pub fn with_lines(code: &str, draw: &mut Draw) -> String {
    let mut lines: Vec<&str> = code.split_inclusive('\n').collect();
    for _ in 0..1 + draw.within(0..2) {
        let (at, from) = (draw.within(0..lines.len()), draw.within(0..lines.len()));
        match draw.within(0..3) {
            0 => lines.insert(at, lines[from]),
            1 if lines.len() > 1 => drop(lines.remove(at)),
            _ => lines.swap(at, from),
        }
    }
    lines.concat()
}

/// Another number in the place of one: axes, strides, paddings, groups.
pub fn with_number(code: &str, draw: &mut Draw) -> String {
    let mut tokens = tokens(code);
    let numbers: Vec<usize> =
        (0..tokens.len()).filter(|i| tokens[*i].starts_with(|c: char| c.is_ascii_digit())).collect();
    for _ in 0..1 + draw.within(0..2) {
        tokens[*draw.pick(&numbers)] = draw.extreme().to_string();
    }
    tokens.concat()
}

/// Expressions or types in one another, in a function of their own.
pub fn nested(code: &str, draw: &mut Draw) -> String {
    let depth = 1 << (4 + draw.within(0..14));
    let (open, middle, close) = *draw.pick(&[
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("-", "1", ""),
        ("not ", "True", ""),
        ("1 + ", "1", ""),
        ("1 if True else ", "1", ""),
        ("torch.neg(", "1", ")"),
        ("annotate(int, ", "1", ")"),
    ]);
    let types = [("List[", "int", "]"), ("Optional[", "int", "]"), ("Tuple[", "int", "]"), ("Dict[str, ", "int", "]")];
    let deep = |(open, middle, close): (&str, &str, &str)| open.repeat(depth) + middle + &close.repeat(depth);
    match draw.within(0..3) {
        0 => format!("{code}  def deep(self,\n    x: {}) -> int:\n    return 1\n", deep(*draw.pick(&types))),
        1 => code.replacen("return", &format!("x = {}\n    return", deep((open, middle, close))), 1),
        _ => {
            let blocks: String = (0..depth.min(2048)).map(|n| format!("{}if True:\n", "  ".repeat(n + 2))).collect();
            format!("{code}  def deep(self) -> int:\n{blocks}{}pass\n    return 1\n", "  ".repeat(depth.min(2048) + 2))
        }
    }
}

/// Words, numbers, blanks and signs.
fn tokens(code: &str) -> Vec<String> {
    let class = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        ' ' => 1,
        _ => 2,
    };
    let mut tokens: Vec<String> = Vec::new();
    let mut last = 2;
    for c in code.chars() {
        match (class(c), tokens.last_mut()) {
            (now, Some(token)) if now == last && now != 2 => token.push(c),
            (now, _) => {
                tokens.push(c.to_string());
                last = now;
            }
        }
    }
    tokens
}
