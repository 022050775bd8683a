//! Writes what the package makes out of the command line's own words and of relay.toml: manual pages and shell completions.
//!
//! Usage: `cargo run --example manuals -- DIRECTORY`. An example, so that its libraries never come into the binary.

#![expect(clippy::print_stderr, reason = "this is a program for the command line")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap_complete::{Shell, generate_to};

/// What the page of the whole program says besides its commands.
const ADDITIONS: &str = include_str!("man/pillarbox.additions");
/// The annotated reference of all keys, which is a manual page as it stands.
const CONFIGURATION: &str = include_str!("../relay.toml");

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manuals DIRECTORY");
        return ExitCode::from(64);
    };
    match write(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manuals: cannot write {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = pillarbox::cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command, "pillarbox", directory)?;
    }
    clap_mangen::generate_to(pillarbox::cli::command(), directory)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(name) = name.strip_suffix(".1") {
            let text = fs::read_to_string(&path)? + &ending(name);
            fs::write(&path, text)?;
        }
    }
    fs::write(directory.join("relay.toml.5"), configuration(CONFIGURATION))
}

/// What the page of a command ends with: the pages above it.
fn ending(name: &str) -> String {
    if name == "pillarbox" {
        return ADDITIONS.to_owned();
    }
    let group = name.rsplit_once('-').map(|(group, _)| group).filter(|group| *group != "pillarbox");
    let group = group.map_or_else(String::new, |group| format!(".BR {} (1),\n", escaped(group)));
    format!(".SH \"SEE ALSO\"\n{group}.BR pillarbox (1)\n")
}

/// relay.toml(5).
fn configuration(text: &str) -> String {
    let lines: String = text.lines().map(|line| escaped(line) + "\n").collect();
    format!(
        ".TH relay.toml 5 \"\" Pillarbox \"File Formats\"\n.SH NAME\nrelay.toml \\- the configuration of Pillarbox\n\
         .SH DESCRIPTION\n.B pillarbox check\nsays whether a file is good and what would be used.\n\
         After a change:\n.BR \"systemctl reload pillarbox\" .\n.PP\n\
         This is the file as it is installed, with every key, its meaning, its range and its default.\n\
         .SH \"THE FILE\"\n.nf\n{lines}.fi\n.SH \"SEE ALSO\"\n.BR pillarbox (1)\n"
    )
}

/// A line that says what it says, whatever marks of the formatter are in it.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_leads_to_the_one_above_it_and_shows_no_mark_of_the_source() {
        let directory = env::temp_dir().join(format!("pillarbox-manuals-{}", std::process::id()));
        write(&directory).expect("written");
        let read = |name: &str| fs::read_to_string(directory.join(name)).expect("a page");
        let pages: Vec<_> = fs::read_dir(&directory)
            .expect("pages")
            .map(|page| page.expect("one").path())
            .collect();
        let pages = pages.iter().filter(|path| path.extension().is_some_and(|one| one == "1"));
        for page in pages.clone() {
            let text = fs::read_to_string(page).expect("a page");
            assert!(text.contains(".SH \"SEE ALSO\""), "{}", page.display());
            assert!(!text.contains("\\\\["), "{}", page.display());
        }
        assert!(pages.count() > 50, "a page for each command");
        assert!(
            read("pillarbox-queue-delete.1")
                .ends_with(".SH \"SEE ALSO\"\n.BR pillarbox\\-queue (1),\n.BR pillarbox (1)\n")
        );
        assert!(read("relay.toml.5").contains("\n#recipients_per_day = 500\n"));
        fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn the_page_has_each_exit_code_of_the_reference() {
        let reference = include_str!("../docs/reference.md");
        let rows = reference.lines().skip_while(|line| !line.starts_with("| exit code"));
        let codes = rows.skip(2).map_while(|row| row.strip_prefix("| ")?.split(" |").next());
        let codes: Vec<&str> = codes.flat_map(|cell| cell.split(", ")).collect();
        assert!(codes.contains(&"78"), "{codes:?}");
        let section = ADDITIONS.split(".SH ").find(|text| text.starts_with("\"EXIT STATUS\""));
        let section = section.expect("the section");
        for code in codes {
            let words =
                |text: &str| text.split_whitespace().any(|word| word.trim_end_matches(',') == code);
            assert!(words(section), "{code}");
        }
    }

    #[test]
    fn a_line_of_the_file_is_never_taken_for_a_command_of_the_formatter() {
        assert_eq!(escaped(".so x"), "\\&.so x");
        assert_eq!(escaped("a\\n-b"), "a\\en\\-b");
    }
}
