// SPDX-License-Identifier: MPL-2.0

//! What the pickles of an archive say of its tensors, checked before libtorch believes it. libtorch takes the length of a
//! storage from the pickle and reads as many bytes, whatever its member has. It destroys nested values by recursion.
//!
//! This follows the instructions as libtorch does, and keeps no more of a value than the checks need. What libtorch
//! refuses by itself is left to it.

use std::rc::Rc;

/// How deep values may lie in one another. Those of a model lie some ten deep.
const DEEPEST: u32 = 200;

#[derive(Clone)]
struct Value {
    what: What,
    depth: u32,
}

#[derive(Clone)]
enum What {
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<[Value]>),
    /// Bytes of a value.
    Kind(i64),
    /// Values of a storage.
    Storage(i64),
    /// A function or class, and whether it makes a tensor of a storage.
    Global(bool),
    Other,
}

/// Checks a pickle whose storages have these lengths in bytes. An error says what was found.
pub fn check(bytes: &[u8], length: &dyn Fn(&str) -> Option<u64>) -> Result<(), String> {
    let mut machine = Machine { rest: bytes, stack: Vec::new(), marks: Vec::new(), memo: Vec::new(), length };
    while machine.step()? {}
    Ok(())
}

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    length: &'a dyn Fn(&str) -> Option<u64>,
}

const CUT: &str = "an instruction that is cut off";
const EMPTY: &str = "an instruction without its values";

impl Machine<'_> {
    /// One instruction. Whether another follows.
    fn step(&mut self) -> Result<bool, String> {
        let [opcode] = self.take()?;
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(self.take::<1>()?),
            b']' | b'}' | 0x88 | 0x89 | b'N' => self.push(What::Other, 0)?,
            b')' => self.push(What::Tuple(Rc::new([])), 0)?,
            b'(' => self.marks.push(self.stack.len()),
            b'K' => self.take::<1>().map(|[n]| self.push(What::Int(n.into()), 0))??,
            b'M' => self.take().map(|n| self.push(What::Int(u16::from_le_bytes(n).into()), 0))??,
            b'J' => self.take().map(|n| self.push(What::Int(i32::from_le_bytes(n).into()), 0))??,
            0x8a => {
                let [_, n @ ..] = self.take::<9>()?;
                self.push(What::Int(i64::from_le_bytes(n)), 0)?;
            }
            b'G' => self.take::<8>().map(|_| self.push(What::Other, 0))??,
            b'X' => {
                let length = u32::from_le_bytes(self.take()?) as usize;
                let text = self.rest.split_at_checked(length).ok_or(CUT)?;
                self.rest = text.1;
                self.push(What::Text(String::from_utf8_lossy(text.0).into()), 0)?;
            }
            b't' => {
                let values = self.marked()?;
                self.tuple(values)?;
            }
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(opcode - 0x84)).ok_or(EMPTY)?;
                let values = self.stack.split_off(at);
                self.tuple(values)?;
            }
            b'l' | b'd' => {
                let depth = deepest(&self.marked()?);
                self.push(What::Other, depth + 1)?;
            }
            b'e' | b'u' => {
                let depth = deepest(&self.marked()?);
                self.deepen(depth)?;
            }
            b's' => {
                let at = self.stack.len().checked_sub(2).ok_or(EMPTY)?;
                let depth = deepest(&self.stack.split_off(at));
                self.deepen(depth)?;
            }
            b'q' => self.take::<1>().map(|[n]| self.keep(n.into()))??,
            b'r' => self.take().map(|n| self.keep(u32::from_le_bytes(n) as usize))??,
            b'h' => self.take::<1>().map(|[n]| self.recall(n.into()))??,
            b'j' => self.take().map(|n| self.recall(u32::from_le_bytes(n) as usize))??,
            b'c' => self.global()?,
            0x81 => drop(self.pop()?),
            b'b' | b'R' => self.call()?,
            b'Q' => self.storage()?,
            other => return Err(format!("the unknown instruction {other:#04x}")),
        }
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn pop(&mut self) -> Result<Value, String> {
        Ok(self.stack.pop().ok_or(EMPTY)?)
    }

    fn push(&mut self, what: What, depth: u32) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("values that lie more than {DEEPEST} deep in one another"));
        }
        self.stack.push(Value { what, depth });
        Ok(())
    }

    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let at = self.marks.pop().filter(|at| *at <= self.stack.len()).ok_or(EMPTY)?;
        Ok(self.stack.split_off(at))
    }

    fn tuple(&mut self, values: Vec<Value>) -> Result<(), String> {
        let depth = deepest(&values) + 1;
        self.push(What::Tuple(values.into()), depth)
    }

    /// Puts values of a depth into the last one.
    fn deepen(&mut self, depth: u32) -> Result<(), String> {
        let into = self.pop()?;
        self.push(into.what, into.depth.max(depth + 1))
    }

    fn keep(&mut self, at: usize) -> Result<(), String> {
        let value = self.stack.last().cloned().ok_or(EMPTY)?;
        // A writer counts them. libtorch makes room for as many as the number says.
        if at > self.memo.len() + 1024 {
            return Err(format!("the value number {at} behind {} values", self.memo.len()));
        }
        self.memo.resize(self.memo.len().max(at + 1), None);
        self.memo[at] = Some(value);
        Ok(())
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let value = self.memo.get(at).cloned().flatten().ok_or_else(|| format!("no value number {at}"))?;
        self.push(value.what, value.depth)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or(CUT)?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let what = match (module.as_str(), name.strip_suffix("Storage")) {
            ("torch", Some(kind)) => What::Kind(bytes_of(kind)),
            ("torch._utils", _) => What::Global(matches!(name.as_str(), "_rebuild_tensor_v2" | "_rebuild_qtensor")),
            _ => What::Global(false),
        };
        self.push(what, 0)
    }

    fn call(&mut self) -> Result<(), String> {
        let (argument, function) = (self.pop()?, self.pop()?);
        match (function.what, argument.what) {
            (What::Global(true), What::Tuple(arguments)) => check_tensor(&arguments)?,
            (What::Global(false), _) => {}
            _ => return Err("a call of what is no function".into()),
        }
        self.push(What::Other, argument.depth + 1)
    }

    fn storage(&mut self) -> Result<(), String> {
        let What::Tuple(tuple) = self.pop()?.what else {
            return Err("a storage that is not described".into());
        };
        let described = tuple.iter().map(|value| &value.what).collect::<Vec<_>>();
        let [_, What::Kind(bytes), What::Text(key), _, What::Int(values), ..] = described[..] else {
            return Err("a storage that is not described".into());
        };
        let found = (self.length)(key).unwrap_or(0);
        let fits = u64::try_from(*values).ok().and_then(|n| n.checked_mul(*bytes as u64)).is_some_and(|n| n <= found);
        if !fits {
            return Err(format!("a tensor of {values} values of {bytes} bytes in {key}, which has {found} bytes"));
        }
        self.push(What::Storage(*values), 0)
    }
}

fn deepest(values: &[Value]) -> u32 {
    values.iter().map(|value| value.depth).max().unwrap_or(0)
}

/// Bytes of a value of a kind; the most where it is not known.
fn bytes_of(kind: &str) -> i64 {
    match kind {
        "Byte" | "Char" | "Bool" | "QInt8" | "QUInt8" | "QUInt4x2" | "QUInt2x4" | "Bits8" => 1,
        kind if kind.starts_with("Float8") => 1,
        "Half" | "BFloat16" | "Short" | "UInt16" => 2,
        "Float" | "Int" | "UInt32" | "QInt32" | "ComplexHalf" => 4,
        "Double" | "Long" | "UInt64" | "ComplexFloat" => 8,
        _ => 16,
    }
}

/// Whether a tensor lies within its storage.
fn check_tensor(arguments: &[Value]) -> Result<(), String> {
    let what: Vec<&What> = arguments.iter().map(|value| &value.what).collect();
    let [What::Storage(values), What::Int(offset), What::Tuple(size), What::Tuple(stride), ..] = what[..] else {
        return Err("a tensor that is not described".into());
    };
    let numbers = |tuple: &[Value]| -> Option<Vec<i64>> {
        let number = |value: &Value| match value.what {
            What::Int(n) if n >= 0 => Some(n),
            _ => None,
        };
        tuple.iter().map(number).collect()
    };
    let end = || {
        let (size, stride) = (numbers(size)?, numbers(stride)?);
        if size.len() != stride.len() || *offset < 0 {
            return None;
        }
        if size.contains(&0) {
            return Some(*offset);
        }
        let places = size.iter().zip(&stride).map(|(n, step)| (n - 1).checked_mul(*step));
        places.into_iter().try_fold(offset.checked_add(1)?, |end, place| end.checked_add(place?))
    };
    match end() {
        Some(end) if end <= *values => Ok(()),
        _ => Err(format!("a tensor that does not lie within the {values} values of its storage")),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A tensor of `values` floats in the storage 0, from `offset` on, of this size and stride.
    pub fn tensor(values: i32, offset: i32, size: i32, stride: i32) -> Vec<u8> {
        let int = |n: i32| [&b"J"[..], &n.to_le_bytes()].concat();
        let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        [
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
            text("storage"),
            b"ctorch\nFloatStorage\n".to_vec(),
            text("0"),
            text("cpu"),
            int(values),
            b"tQ".to_vec(),
            int(offset),
            int(size),
            b"\x85".to_vec(),
            int(stride),
            b"\x85\x89NtR.".to_vec(),
        ]
        .concat()
    }

    fn checked(bytes: &[u8]) -> Result<(), String> {
        check(bytes, &|key| (key == "0").then_some(40))
    }

    #[test]
    fn a_tensor_lies_within_its_storage_and_that_within_its_member() {
        for (values, offset, size, stride) in
            [(10, 0, 10, 1), (10, 9, 1, 7), (10, 1, 3, 4), (10, 0, 0, 1), (0, 0, 0, 1)]
        {
            checked(&tensor(values, offset, size, stride)).expect("a tensor");
        }
        for (values, offset, size, stride) in
            [(11, 0, 10, 1), (-1, 0, 1, 1), (10, 1, 10, 1), (10, -1, 1, 1), (10, 9, 2, -1), (10, 0, 4, 4), (5, 0, 6, 1)]
        {
            let error = checked(&tensor(values, offset, size, stride)).expect_err("a refusal");
            assert!(error.contains("a tensor"), "{error}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let nested = |depth: usize| [b"\x80\x02N".to_vec(), b"\x85".repeat(depth), b".".to_vec()].concat();
        checked(&nested(DEEPEST as usize)).expect("values");
        assert!(checked(&nested(DEEPEST as usize + 1)).is_err_and(|error| error.contains("deep")));
    }

    #[test]
    fn instructions_without_their_values_are_refused() {
        for bytes in [
            &b"\x80\x02"[..],
            b"t.",
            b"\x85.",
            b"R.",
            b"s.",
            b"N(0t.",
            b"Nr\xff\xff\xff\xff.",
            b"K\x00)R.",
            b"N(\x81t.",
        ] {
            assert!(checked(bytes).is_err(), "{bytes:?}");
        }
    }
}
