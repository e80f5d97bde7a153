"""The command, its files, batches, and the plugin for pytest."""

from __future__ import annotations

from .row import Situation

_PLUGIN = "tests/test_plugin.py::"
_FILES = "tests/cli/test_files.py::"
_SURROUNDINGS = "tests/cli/test_surroundings.py::"

ROWS: tuple[Situation, ...] = (
    # The plugin
    Situation(
        name="gevent patches in conftest.py",
        source="gevent/gevent#1481",
        situation="A project's conftest.py calls gevent.monkey.patch_all(), and an installed "
        "plugin for pytest has imported urllib3 before.",
        right="The project's TLS works, and nothing warns.",
        before="RecursionError in urllib3",
        test=f"{_PLUGIN}test_gevent_patches_in_a_conftest",
    ),
    Situation(
        name="a plugin breaks the tests of others",
        source="pytest-dev/pytest#3784",
        situation="pytest loads the plugins of all that is installed into every project.",
        right="Nothing but pytest is imported until a fixture is used.",
        before="imported requests, urllib3 and the package",
        test=f"{_PLUGIN}test_imports_nothing_until_a_fixture_is_used",
    ),
    Situation(
        name="pytest.main() in a program",
        source="man-group/pytest-plugins#123",
        situation="A program that has imported the library calls pytest.main() with warnings as "
        "errors.",
        right="No PytestAssertRewriteWarning.",
        before="PytestAssertRewriteWarning",
        test=f"{_PLUGIN}test_leaves_a_program_alone_that_runs_pytest",
    ),
    Situation(
        name="a project's own requests.py",
        source="",
        situation="A project has a module named requests, or the installed one warns or is broken.",
        right="Its tests run.",
        before="pytest did not start",
        test=f"{_PLUGIN}test_leaves_a_project_its_own_modules",
    ),
    # Files
    Situation(
        name="output is input",
        source="facebook/zstd#1422",
        situation="One file is named as input and as output, by a link or a redirection too.",
        right="A usage error before anything is opened.",
        before="prompts, answers and recordings destroyed",
        test=f"{_FILES}test_refuses_one_file_for_two",
    ),
    Situation(
        name="output is emptied before there is any",
        source="rspeer/python-ftfy#78",
        situation="The old output is emptied when the command begins, and then it fails.",
        right="A good recording stays until there is an answer to put in its place.",
        before="an empty recording",
        test=f"{_FILES}test_keeps_a_good_recording_until_there_is_an_answer",
    ),
    Situation(
        name="a dash for standard output",
        source="kubernetes/kompose#169",
        situation="-o - is given for standard output.",
        right="It is standard output.",
        before="a file named -",
        test=f"{_FILES}test_writes_into_streams",
    ),
    Situation(
        name="/dev/stdout as an output",
        source="hsinnan75/MapCaller#52",
        situation="-o /dev/stdout is given, and standard output is a pipe, a file or a socket.",
        right="It is written to as it is, and not opened anew.",
        before="an errno, or another position in the file",
        test=f"{_FILES}test_appends_to_what_standard_output_is",
    ),
    Situation(
        name="a temporary file of somebody else's",
        source="",
        situation="There is a file, or a link, by the name of the answers and .tmp.",
        right="It is left alone.",
        before="what it led to was emptied",
        test=f"{_FILES}test_leaves_a_temporary_file_of_others_alone",
    ),
    # Prompts
    Situation(
        name="a repeated custom_id",
        source="sgl-project/sglang#1415",
        situation="A line far down in a batch has the custom_id of another.",
        right="Said with file and line before the first request.",
        before="found after 59 requests",
        test=f"{_FILES}test_finds_a_repeated_id_before_the_first_request",
    ),
    Situation(
        name="a repeated custom_id in a pipe",
        source="llm-d/llm-d-batch-gateway#147",
        situation="The same of prompts that come through a pipe, while others are being answered.",
        right="What runs gets its answer, then it is said.",
        before="the answers under way were thrown away",
        test=f"{_FILES}test_keeps_what_was_asked_when_a_pipe_repeats_an_id",
    ),
    Situation(
        name="prompts in UTF-16",
        source="jqlang/jq#2351",
        situation="The > of PowerShell 5 writes the file of prompts in UTF-16.",
        right="A usage error that says so.",
        before="as many failed prompts as lines",
        test=f"{_FILES}test_says_that_prompts_are_in_utf_16",
    ),
    Situation(
        name="prompts with a byte-order mark",
        source="chef/chef#7054",
        situation="A file of prompts begins with a byte-order mark, has Windows' line ends, or "
        "empty lines.",
        right="They are read.",
        before="right",
        test=f"{_FILES}test_reads_prompts_of_every_editor",
    ),
    # Options
    Situation(
        name="an option that replaces another",
        source="",
        situation="chat -o messages '[]' with a prompt; -o model with --model.",
        right="A usage error.",
        before="the prompt was dropped, status 0",
        test=f"{_FILES}test_refuses_an_option_that_replaces_another",
    ),
    # Callbacks
    Situation(
        name="a coroutine function as a callback",
        source="e2b-dev/code-interpreter#159",
        situation="on_next, on_done or on_error is an async def.",
        right="TypeError.",
        before="all events lost, ended well",
        test="tests/test_arguments.py::test_refuses_a_function_that_would_not_run",
    ),
    Situation(
        name="a handler with an asynchronous method",
        source="langchain-ai/langchain#10945",
        situation="The callback is a bound method, a partial or an object, whose call is a "
        "coroutine.",
        right="TypeError.",
        before="all events lost, ended well",
        test="tests/test_arguments.py::test_refuses_a_function_that_would_not_run",
    ),
    # Clusters
    Situation(
        name="a package that workers lack",
        source="dask/distributed#5419",
        situation="The workers of a Dask cluster do not have the package.",
        right="A clear error before anything is asked, and no prompt in their log.",
        before="waited forever",
        test="tests/cli/test_dask.py::test_workers_without_the_package",
    ),
    Situation(
        name="a worker without the package joins later",
        source="dask/distributed#2230",
        situation="The cluster has no workers yet; those that come lack the package.",
        right="A clear error, and no prompt in their log.",
        before="waited forever",
        test="tests/cli/test_dask.py::test_workers_without_the_package_that_come_later",
    ),
    # Machines
    Situation(
        name="a test run in the background of a script",
        source="python/cpython#154168",
        situation="A shell without job control has background jobs ignore SIGINT, and they pass it "
        "on to their children.",
        right="The tests that interrupt a child pass.",
        before="the run hung, then aborted",
        test="tests/test_testing.py::test_interrupts_work_in_a_background_job",
    ),
    Situation(
        name="a pipe that is closed early",
        source="pallets/click#625",
        situation="The output goes to head, which ends after a line.",
        right="No traceback, status 141.",
        before="right",
        test="tests/cli/test_questions.py::test_a_closed_pipe",
    ),
    Situation(
        name="a locale that has only ASCII",
        source="aws/aws-cli#6461",
        situation="In a container without a locale the answer has an emoji.",
        right="A question mark on standard output, everything in JSON.",
        before="right",
        test=f"{_SURROUNDINGS}test_shows_what_the_locale_can_show",
    ),
    Situation(
        name="a dumb terminal",
        source="direnv/direnv#1551",
        situation="TERM=dumb, as in Emacs and in consoles of CI.",
        right="No escape sequence, no bar.",
        before="right",
        test=f"{_SURROUNDINGS}test_sends_no_escape_sequences_to_a_dumb_terminal",
    ),
    Situation(
        name="a home that is read-only",
        source="runpod/runpod-python#217",
        situation="HOME is not there, cannot be written, or is not set.",
        right="Everything works: nothing is written anywhere.",
        before="right",
        test=f"{_SURROUNDINGS}test_needs_no_home",
    ),
    Situation(
        name="a netrc that cannot be read",
        source="wandb/wandb#10895",
        situation="~/.netrc is there, and reading it fails.",
        right="It is passed over.",
        before="right",
        test=f"{_SURROUNDINGS}test_passes_over_a_netrc_that_is_a_folder",
    ),
    Situation(
        name="run out of an archive",
        source="psf/requests#4369",
        situation="The package lies in a zip file, or on a path with spaces and other letters.",
        right="It streams, and the command runs.",
        before="right",
        test=f"{_SURROUNDINGS}test_streams_from_wherever_it_lies",
    ),
    Situation(
        name="python -O",
        source="jawah/qh3#126",
        situation="The interpreter strips assert statements.",
        right="Nothing depends on them.",
        before="right",
        test=f"{_SURROUNDINGS}test_streams_whatever_the_interpreter_is_told",
    ),
    Situation(
        name="python -OO",
        source="brandon-rhodes/pyephem#213",
        situation="The interpreter strips docstrings.",
        right="Nothing depends on them.",
        before="right",
        test=f"{_SURROUNDINGS}test_streams_whatever_the_interpreter_is_told",
    ),
    Situation(
        name="A closed standard input",
        source="pixelb/crudini#67",
        situation="A service without standard input runs batch with - as its prompts.",
        right="A usage error that says so.",
        before="a traceback of click's",
        test="tests/cli/test_files.py::test_refuses_a_standard_input_that_is_closed",
    ),
    Situation(
        name="--version into a full disk, --help into a closed pipe",
        source="uutils/coreutils#14354",
        situation="What the program says of itself cannot be written.",
        right="One line and status 1; nothing, and status 141.",
        before="a traceback; status 1",
        test="tests/cli/test_questions.py::test_what_it_says_of_itself_into_a_full_disk",
    ),
    Situation(
        name="An encoding that begins with a mark",
        source="rrthomas/rpl#20",
        situation="PYTHONIOENCODING is utf-8-sig or utf-16.",
        right="The mark comes once.",
        before="before every piece",
        test="tests/cli/test_questions.py::test_an_encoding_with_a_mark_has_it_once",
    ),
    Situation(
        name="Expect: 100-continue",
        source="abhinavsingh/proxy.py#124",
        situation="curl asks record --proxy whether to send a long body.",
        right="It is told to at once.",
        before="it waited a second, or for ever",
        test="tests/test_testing.py::test_who_asks_whether_to_go_on_is_told_so",
    ),
    Situation(
        name="A last line without its end",
        source="NousResearch/hermes-agent#112575",
        situation="An editor has taken the last line end of a recording, which is then added to.",
        right="The line is kept.",
        before="nothing could be added",
        test="tests/test_recordings.py::test_adds_to_a_recording_whose_last_line_has_no_end",
    ),
    Situation(
        name="Empty lines, and lines of NULs, in a file of answers",
        source="",
        situation="Files of the API's were joined; the power went while one was written.",
        right="They are dropped.",
        before="the file was refused",
        test="tests/cli/test_batch.py::test_lines_with_nothing_in_them_are_dropped",
    ),
    Situation(
        name="A skipped test with a script that is left",
        source="",
        situation="A test with the marker stream_played calls pytest.skip(), or fails.",
        right="It is skipped, or has failed, and no error besides.",
        before="there was no marker",
        test="tests/test_markers.py::"
        "test_a_script_that_is_left_says_nothing_of_a_test_that_has_not_passed",
    ),
)
