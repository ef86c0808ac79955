//! Blocks of bytes.

use super::slab::Slab;

/// Size of a block.
pub const BLOCK_BYTES: usize = 2048;

/// A fixed number of blocks in one allocation, which the operating system backs with memory only
/// as blocks are used. The block freed last is used first, so that few stay warm.
///
/// Blocks are taken and freed on the bill of an account, each with a limit of its own. Whoever
/// works on what another account holds calls [`Pool::bill`] first.
#[derive(Debug)]
pub struct Pool {
    fills: Slab<Fill>,
    memory: Vec<u8>,
    accounts: Vec<Account>,
    billed: usize,
}

/// Whose blocks they are.
#[derive(Clone, Copy, Debug)]
struct Account {
    used: u32,
    limit: u32,
}

/// The part of a block that holds bytes.
#[derive(Clone, Copy, Debug)]
struct Fill {
    start: u16,
    len: u16,
}

impl Pool {
    /// A pool of `blocks` free blocks.
    pub fn new(blocks: u32) -> Pool {
        Pool {
            fills: Slab::new(blocks),
            memory: vec![0; blocks as usize * BLOCK_BYTES],
            accounts: vec![Account { used: 0, limit: blocks }],
            billed: 0,
        }
    }

    /// Opens an account for each limit, instead of those that it had; no block may be in use.
    /// Without a limit an account may use all blocks.
    pub fn open_accounts(&mut self, limits: impl Iterator<Item = Option<u32>>) {
        assert_eq!(self.used(), 0, "blocks in use are on somebody's bill");
        let blocks = self.capacity();
        let account = |limit: Option<u32>| Account { used: 0, limit: limit.unwrap_or(blocks) };
        self.accounts = limits.map(|limit| account(limit.map(|limit| limit.min(blocks)))).collect();
        self.billed = 0;
    }

    /// Gives accounts other limits, none below what they hold, and opens those that are new.
    pub fn adjust_accounts(&mut self, limits: impl Iterator<Item = Option<u32>>) {
        let blocks = self.capacity();
        for (index, limit) in limits.enumerate() {
            let limit = limit.map_or(blocks, |limit| limit.min(blocks));
            match self.accounts.get_mut(index) {
                Some(account) => account.limit = limit.max(account.used),
                None => self.accounts.push(Account { used: 0, limit }),
            }
        }
    }

    /// Puts blocks that one account holds on the bill of another. False: that one may not hold so
    /// many more.
    pub fn rebill(&mut self, blocks: u32, from: usize, to: usize) -> bool {
        let Account { used, limit } = self.accounts[to];
        if from != to && blocks > limit - used {
            return false;
        }
        self.accounts[from].used -= blocks;
        self.accounts[to].used += blocks;
        true
    }

    /// From now on blocks are on this account's bill.
    #[inline]
    pub fn bill(&mut self, account: u16) {
        self.billed = account.into();
    }

    /// How many blocks an account holds.
    pub fn used_by(&self, account: usize) -> u32 {
        self.accounts[account].used
    }

    /// How many blocks the account that is billed may hold.
    #[inline]
    pub fn allowance(&self) -> u32 {
        self.accounts[self.billed].limit
    }

    /// How many blocks there are.
    pub fn capacity(&self) -> u32 {
        self.fills.capacity()
    }

    /// How many blocks hold bytes.
    pub fn used(&self) -> u32 {
        self.fills.used()
    }

    /// How many blocks nobody holds.
    pub fn unused(&self) -> u32 {
        self.capacity() - self.used()
    }

    /// How many blocks are free for the account that is billed.
    #[inline]
    pub fn free(&self) -> u32 {
        let Account { used, limit } = self.accounts[self.billed];
        self.unused().min(limit - used)
    }

    /// Bytes of memory that it takes when all blocks are in use.
    pub fn memory_bytes(&self) -> usize {
        self.memory.len() + self.fills.memory_bytes()
    }

    /// Takes an empty block whose bytes will start at `start`.
    #[inline]
    pub(super) fn allocate(&mut self, start: usize) -> Option<u32> {
        let account = &mut self.accounts[self.billed];
        if account.used == account.limit {
            return None;
        }
        let block = self.fills.insert(Fill { start: start as u16, len: 0 })?;
        account.used += 1;
        Some(block)
    }

    /// Frees a block and returns the one it was linked to.
    #[inline]
    pub(super) fn release(&mut self, block: u32) -> u32 {
        self.accounts[self.billed].used -= 1;
        self.fills.remove(block)
    }

    #[inline]
    pub(super) fn next(&self, block: u32) -> u32 {
        self.fills.next(block)
    }

    #[inline]
    pub(super) fn link(&mut self, block: u32, next: u32) {
        self.fills.link(block, next);
    }

    /// Where in the block its bytes start.
    pub(super) fn start(&self, block: u32) -> usize {
        self.fills.get(block).start.into()
    }

    #[inline]
    pub(super) fn len(&self, block: u32) -> usize {
        self.fills.get(block).len.into()
    }

    /// The block's bytes.
    #[inline]
    pub(super) fn bytes(&self, block: u32) -> &[u8] {
        let fill = self.fills.get(block);
        let start = block as usize * BLOCK_BYTES + usize::from(fill.start);
        &self.memory[start..start + usize::from(fill.len)]
    }

    /// Puts as many bytes as there is room for behind those in the block; returns how many.
    #[inline]
    pub(super) fn fill_back(&mut self, block: u32, bytes: &[u8]) -> usize {
        let fill = self.fills.get_mut(block);
        let end = usize::from(fill.start + fill.len);
        let n = bytes.len().min(BLOCK_BYTES - end);
        fill.len += n as u16;
        let at = block as usize * BLOCK_BYTES + end;
        self.memory[at..at + n].copy_from_slice(&bytes[..n]);
        n
    }

    /// Puts as many of the last bytes as there is room for before those in the block.
    pub(super) fn fill_front(&mut self, block: u32, bytes: &[u8]) -> usize {
        let fill = self.fills.get_mut(block);
        let n = bytes.len().min(fill.start.into());
        fill.start -= n as u16;
        fill.len += n as u16;
        let at = block as usize * BLOCK_BYTES + usize::from(fill.start);
        self.memory[at..at + n].copy_from_slice(&bytes[bytes.len() - n..]);
        n
    }

    /// Copies the bytes of block `from` behind those of `into`, if they fit after moving the latter
    /// to the block's start.
    pub(super) fn merge(&mut self, into: u32, from: u32) -> bool {
        let (fill, other) = (*self.fills.get(into), *self.fills.get(from));
        if usize::from(fill.len) + usize::from(other.len) > BLOCK_BYTES {
            return false;
        }
        let base = into as usize * BLOCK_BYTES;
        let start = base + usize::from(fill.start);
        self.memory.copy_within(start..start + usize::from(fill.len), base);
        let source = from as usize * BLOCK_BYTES + usize::from(other.start);
        let target = base + usize::from(fill.len);
        self.memory.copy_within(source..source + usize::from(other.len), target);
        *self.fills.get_mut(into) = Fill { start: 0, len: fill.len + other.len };
        true
    }

    /// Drops the first `n` bytes of a block, which has as many.
    #[inline]
    pub(super) fn trim_front(&mut self, block: u32, n: usize) {
        let fill = self.fills.get_mut(block);
        debug_assert!(n <= usize::from(fill.len));
        fill.start += n as u16;
        fill.len -= n as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_gets_no_more_than_its_limit_and_no_less_than_is_there() {
        let mut pool = Pool::new(10);
        pool.open_accounts([Some(4), None, Some(20)].into_iter());
        let take = |pool: &mut Pool, account, most| {
            pool.bill(account);
            (0..most).map_while(|_| pool.allocate(0)).collect::<Vec<_>>()
        };
        let first = take(&mut pool, 0, 10);
        assert_eq!((first.len(), pool.free(), pool.unused()), (4, 0, 6));
        let second = take(&mut pool, 1, 4);
        assert_eq!((second.len(), pool.free(), pool.allowance()), (4, 2, 10));
        assert_eq!(take(&mut pool, 2, 10).len(), 2);
        pool.bill(0);
        for block in first {
            pool.release(block);
        }
        assert_eq!([0, 1, 2].map(|account| pool.used_by(account)), [0, 4, 2]);
        assert_eq!(pool.free(), 4);
    }
}
