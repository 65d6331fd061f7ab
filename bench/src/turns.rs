//! Sides in turns, forwards and backwards: A B B A A B …, so that what else the machine does hits them alike.

use std::io;

/// The rounds of each side, in the order in which they ran: `[side][round][column]`.
pub type Rounds = Vec<Vec<Vec<f64>>>;

/// Runs `round` for each of `sides` in turn, `rounds` times after `unmeasured` ones.
pub fn run(
    sides: usize,
    unmeasured: usize,
    rounds: usize,
    mut round: impl FnMut(usize) -> io::Result<Vec<f64>>,
) -> io::Result<Rounds> {
    let mut all = vec![Vec::new(); sides];
    for turn in 0..unmeasured + rounds {
        for i in 0..sides {
            let side = if turn % 2 == 0 { i } else { sides - 1 - i };
            let columns = round(side)?;
            if turn >= unmeasured {
                all[side].push(columns);
            }
        }
    }
    Ok(all)
}
