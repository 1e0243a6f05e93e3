// SPDX-License-Identifier: MPL-2.0

//! How deep an archive's code goes. libtorch compiles expressions, types and blocks by recursion, and ends the process
//! where the stack does.

/// How deep brackets and signs may lie in one another. Those of a model lie some ten deep.
const BRACKETS: usize = 200;

/// How deep tuples may lie in one another. The time that libtorch takes for a type of tuples doubles with each.
const TUPLES: usize = 12;

/// Blanks that a line may begin with: two a block.
const BLANKS: usize = 200;

/// Signs and words of a line that take what follows them as their own.
const OPERATORS: usize = 1000;

/// An error says where the code is too deep.
pub fn check(code: &str) -> Result<(), String> {
    let (mut open, mut tuples) = (Vec::new(), 0);
    let (mut quote, mut escaped) = (None, false);
    for (number, line) in code.lines().enumerate() {
        let deep = |what: &str, most| Err(format!("more than {most} {what} in one another in line {}", number + 1));
        if line.len() - line.trim_start_matches([' ', '\t']).len() > BLANKS {
            return deep("blocks", BLANKS / 2);
        }
        // A negative number in a list stands behind a comma.
        let operands = line.split([',', '[', '(', '{']);
        let operators = |part: &str| {
            let words = part.split([' ', '\t']).filter(|word| ["not", "if", "and", "or"].contains(word)).count();
            words + part.matches(['+', '-', '*', '/', '~', '|', '&', '.']).count()
        };
        if operands.map(operators).max().unwrap_or(0) > OPERATORS {
            return deep("operators", OPERATORS);
        }
        for (at, c) in line.char_indices() {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(mark), c) if c == mark => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '#') => break,
                (None, '(' | '[' | '{') => {
                    let is_tuple = line[..at].ends_with("Tuple");
                    open.push(is_tuple);
                    tuples += usize::from(is_tuple);
                }
                (None, ')' | ']' | '}') => tuples -= usize::from(open.pop().unwrap_or(false)),
                _ => {}
            }
            if open.len() > BRACKETS {
                return deep("brackets", BRACKETS);
            }
            if tuples > TUPLES {
                return deep("tuples", TUPLES);
            }
        }
        // No text goes on in the next line.
        (quote, escaped) = (None, false);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_a_model_passes_and_code_made_to_overflow_does_not() {
        let list = format!("x = [{}]\n", "-1, ".repeat(10_000));
        for code in ["", "a = torch.relu((b))\n", "x = \"((((\"\n", &list] {
            check(code).expect(code);
        }
        let blocks: String = (0..200).map(|n| "  ".repeat(n) + "if True:\n").collect();
        for code in [
            "(".repeat(201),
            "List[".repeat(201),
            "Tuple[int, ".repeat(13),
            "[\n".repeat(201),
            "-".repeat(1001),
            "not ".repeat(1001),
            blocks,
        ] {
            assert!(check(&code).is_err(), "{}", &code[..10]);
        }
    }
}
