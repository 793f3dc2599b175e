//! Files of ninjs: one object, many one after another, or a list, and where each object begins.

use std::{
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    iter,
    path::Path,
    thread,
};

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::{
    cli::BadUse,
    wire::ninjs::{self, NinjsError, Parsed},
};

/// Most bytes of one object: an article of 900 KiB with every character escaped, and some room.
const OBJECT_BYTES_MAX: usize = 8 << 20;
/// Most objects in a row that can't be read, before the file is taken for something else.
const REFUSED_IN_A_ROW_MAX: usize = 100;

/// Where in which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// From 1; 0 where only the file is known.
    pub line: usize,
    /// From 1; 0 where only the line is known.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One object of a file, read or not.
#[derive(Debug)]
pub struct Item {
    /// Where it begins, or where it is wrong.
    pub place: Place,
    /// What it says.
    pub parsed: Result<Parsed, String>,
    /// Bytes of the file up to its end.
    pub read_bytes: u64,
}

/// Checks that files can be read, before anything is done with the first of them. What is no plain
/// file, such as a pipe, is left for reading.
///
/// # Errors
/// [`BadUse`] names the first that can't.
pub fn check(files: &[String]) -> Result<(), BadUse> {
    for file in files.iter().filter(|file| *file != "-") {
        let is_plain = fs::metadata(file).map(|metadata| metadata.is_file() || metadata.is_dir());
        // Opening a pipe and leaving it would break it.
        match is_plain.and_then(|is_plain| {
            if is_plain {
                open(file).map(drop)
            } else {
                Ok(())
            }
        }) {
            Ok(()) => {}
            Err(error) => return Err(BadUse(format!("can't read {file}: {}", why(&error)))),
        }
    }
    Ok(())
}

/// Why a file can't be read, in plain words where they are known.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens a file; `-` is stdin.
///
/// # Errors
/// What the system says.
pub fn open(file: &str) -> io::Result<Box<dyn BufRead>> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    if Path::new(file).is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

/// Reads the files in a thread of its own, up to so many objects ahead: stdin may keep it waiting
/// for ever.
///
/// # Errors
/// There can be no thread.
pub fn read_ahead(files: Vec<String>, ahead_count: usize) -> anyhow::Result<mpsc::Receiver<Item>> {
    read_ahead_with(files, ahead_count, |_| {})
}

/// The same, with a change to each.
///
/// # Errors
/// There can be no thread.
pub fn read_ahead_with(
    files: Vec<String>,
    ahead_count: usize,
    change: impl Fn(&mut Item) + Send + 'static,
) -> anyhow::Result<mpsc::Receiver<Item>> {
    let (items_in, read_items) = mpsc::channel(ahead_count);
    // Not a task: a task that reads stdin would keep the runtime from ending.
    thread::Builder::new()
        .name("reader".to_owned())
        .spawn(move || {
            let mut before_bytes = 0;
            for file in files {
                let items: Box<dyn Iterator<Item = Item>> = match open(&file) {
                    Ok(reader) => Box::new(items(&file, reader)),
                    Err(error) => Box::new(iter::once(unreadable(file, &error))),
                };
                let mut read_bytes = before_bytes;
                for mut item in items {
                    item.read_bytes += before_bytes;
                    read_bytes = item.read_bytes;
                    change(&mut item);
                    if items_in.blocking_send(item).is_err() {
                        // Nobody takes them any more: the command is ending.
                        return;
                    }
                }
                before_bytes = read_bytes;
            }
        })
        .context("can't start the reader")?;
    Ok(read_items)
}

fn unreadable(file: String, error: &std::io::Error) -> Item {
    Item {
        place: Place {
            file,
            line: 0,
            column: 0,
        },
        parsed: Err(format!("can't read the file: {}", why(error))),
        read_bytes: 0,
    }
}

/// Every object of a file: one after another, however they are laid out, or as the elements of one
/// list. One that is wrong is told, and the next ones are read; after an error of the file itself,
/// and after many wrong ones in a row, nothing more comes.
pub fn items<R: BufRead>(file: &str, reader: R) -> Items<R> {
    Items {
        file: file.to_owned(),
        reader,
        line: 1,
        column: 1,
        read_bytes: 0,
        form: Form::Unknown,
        refused_count: 0,
        is_done: false,
    }
}

/// How the objects of a file are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing has been read yet.
    Unknown,
    /// One after another.
    Lines,
    /// Elements of a list, of which none has been read since the last comma.
    ListBefore,
    /// Elements of a list, right after one.
    ListAfter,
}

/// The objects of one file.
#[derive(Debug)]
pub struct Items<R> {
    file: String,
    reader: R,
    /// Where the next byte stands.
    line: usize,
    column: usize,
    read_bytes: u64,
    form: Form,
    /// Refused ones since the last good one.
    refused_count: usize,
    is_done: bool,
}

impl<R: BufRead> Iterator for Items<R> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.is_done {
            return None;
        }
        let item = match self.read() {
            Ok(None) => {
                self.is_done = true;
                return None;
            }
            Ok(Some(item)) => item,
            Err(error) => {
                self.is_done = true;
                let place = self.place();
                self.refuse(place, format!("can't read on: {error}"))
            }
        };
        self.refused_count = match item.parsed {
            Ok(_) => 0,
            Err(_) => self.refused_count + 1,
        };
        if self.refused_count > REFUSED_IN_A_ROW_MAX && !self.is_done {
            self.is_done = true;
            let message = format!(
                "is no ninjs either, like the {REFUSED_IN_A_ROW_MAX} before it; the rest of the \
                 file is left out"
            );
            return Some(self.refuse(item.place, message));
        }
        Some(item)
    }
}

impl<R: BufRead> Items<R> {
    /// The next object; none at the end of the file.
    fn read(&mut self) -> io::Result<Option<Item>> {
        loop {
            let place = self.place();
            let next = self.peek()?;
            let wrong = match (next, self.form) {
                (Some(b' ' | b'\t' | b'\r' | b'\n'), _) => {
                    self.take(&mut None)?;
                    continue;
                }
                // A byte order mark.
                (Some(0xEF), _) if self.read_bytes == 0 => {
                    for expected in [0xEF, 0xBB, 0xBF] {
                        if self.peek()? == Some(expected) {
                            self.take(&mut None)?;
                        }
                    }
                    self.column = 1;
                    continue;
                }
                (None, Form::Unknown | Form::Lines) => return Ok(None),
                (None, Form::ListBefore | Form::ListAfter) => "the list does not end",
                (Some(b'['), Form::Unknown) => {
                    self.take(&mut None)?;
                    self.form = Form::ListBefore;
                    continue;
                }
                (Some(b','), Form::ListAfter) => {
                    self.take(&mut None)?;
                    self.form = Form::ListBefore;
                    continue;
                }
                (Some(b']'), Form::ListBefore | Form::ListAfter) => {
                    self.take(&mut None)?;
                    self.form = Form::Lines;
                    continue;
                }
                (Some(_), Form::ListAfter) => "a comma is missing in the list",
                (Some(b','), Form::ListBefore) => "a comma without an object before it",
                (Some(_), Form::Unknown) => {
                    self.form = Form::Lines;
                    continue;
                }
                (Some(_), Form::Lines | Form::ListBefore) => return self.object(place).map(Some),
            };
            // Within a list there is no line to go on from.
            self.is_done = true;
            return Ok(Some(self.refuse(place, wrong.to_owned())));
        }
    }

    fn object(&mut self, place: Place) -> io::Result<Item> {
        let is_list = self.form == Form::ListBefore;
        if is_list {
            self.form = Form::ListAfter;
        }
        let mut bytes = Some(Vec::new());
        match self.peek()? {
            Some(b'{' | b'[') => self.take_object(&mut bytes)?,
            // No object: a word, a number, junk, up to where another may begin.
            _ => {
                while let Some(byte) = self.peek()?
                    && !(byte == b'\n' || is_list && matches!(byte, b',' | b']'))
                {
                    self.take(&mut bytes)?;
                }
            }
        }
        let Some(bytes) = bytes else {
            self.skip_line()?;
            let message = format!("one object has more than {OBJECT_BYTES_MAX} bytes");
            return Ok(self.refuse(place, message));
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(self.refuse(place, "is not UTF-8; save the file as UTF-8".to_owned()));
        };
        Ok(match ninjs::parse(&text) {
            Ok(parsed) => Item {
                place: Place { column: 0, ..place },
                parsed: Ok(parsed),
                read_bytes: self.read_bytes,
            },
            Err(error) => self.refuse(place_in(place, &text, &error), error.to_string()),
        })
    }

    /// Takes an object or list as far as it goes: to its end, or to where it is surely cut short,
    /// so that the objects after it are read.
    fn take_object(&mut self, bytes: &mut Option<Vec<u8>>) -> io::Result<()> {
        let mut open = Vec::new();
        let (mut is_text, mut is_escaped, mut last) = (false, false, b' ');
        while let Some(byte) = self.peek()? {
            match byte {
                // JSON has no line end within a text.
                b'\n' if is_text => return Ok(()),
                _ if is_text => {
                    is_text = byte != b'"' || is_escaped;
                    is_escaped = byte == b'\\' && !is_escaped;
                }
                b'"' => is_text = true,
                // Another object where only a key could stand.
                b'{' if open.last() == Some(&b'{') && last != b':' => return Ok(()),
                b'{' | b'[' => open.push(byte),
                b'}' | b']' => {
                    open.pop();
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                last = byte;
            }
            self.take(bytes)?;
            if open.is_empty() || bytes.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(buffer) => return Ok(buffer.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the byte that was peeked at into an object, which becomes none if it is too long.
    fn take(&mut self, object: &mut Option<Vec<u8>>) -> io::Result<()> {
        let Some(byte) = self.peek()? else {
            return Ok(());
        };
        self.reader.consume(1);
        self.read_bytes += 1;
        if byte == b'\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else if byte & 0xC0 != 0x80 {
            // Characters and not bytes: no continuation of UTF-8.
            self.column += 1;
        }
        if let Some(bytes) = object {
            bytes.push(byte);
            if bytes.len() > OBJECT_BYTES_MAX {
                *object = None;
            }
        }
        Ok(())
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while self.peek()?.is_some_and(|byte| byte != b'\n') {
            self.take(&mut None)?;
        }
        Ok(())
    }

    fn refuse(&self, place: Place, message: String) -> Item {
        Item {
            place,
            parsed: Err(message),
            read_bytes: self.read_bytes,
        }
    }

    fn place(&self) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
        }
    }
}

/// The place of an error within an object that begins somewhere.
fn place_in(begin: Place, text: &str, error: &NinjsError) -> Place {
    if error.line == 0 {
        return begin;
    }
    let line = text.split('\n').nth(error.line - 1).unwrap_or_default();
    // serde_json counts bytes; people and editors count characters.
    let before = line
        .as_bytes()
        .get(..error.column)
        .unwrap_or(line.as_bytes());
    let column = String::from_utf8_lossy(before).chars().count().max(1);
    Place {
        line: begin.line + error.line - 1,
        column: match error.line {
            1 => begin.column + column - 1,
            _ => column,
        },
        ..begin
    }
}

#[cfg(test)]
mod tests;
