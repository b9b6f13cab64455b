## What the operators' chat is told

alert-head = <b>The shop needs a look</b>
alert-head-over = <b>All is well again</b>
alert-line =
    🔴 { $what }
    Since { $since } UTC · <code>{ $command }</code> · { $page }
alert-over = ✅ Over ({ $since }–{ $until } UTC): { $what }
alert-books = The books do not agree: { $violations ->
    [one] one violation
   *[other] { $violations } violations
} of { $checks }.
alert-audit = The books were last read { $minutes } min ago.
alert-inbox = What customers sent waits: { $waiting }, the oldest for { $minutes } min.
alert-queue = Videos wait: { $due ->
    [one] one is due
   *[other] { $due } are due
}, the oldest for { $minutes } min.
alert-messages = Messages to customers wait: { $waiting }, the oldest for { $minutes } min.
alert-updates = Nobody could handle what customers sent: { $dead ->
    [one] one update
   *[other] { $dead } updates
} within a day.
alert-keys = Keys are refused or their accounts are empty: { $keys } ({ $why })
alert-balance = Little is left on { $keys }.
alert-answers = Submits without an answer: { $lost } of the { $submits } of a quarter of an hour.
alert-orphans = Tasks that nobody needs have cost { $cost } within a day.
alert-disk = The bot's disk is { $percent } % full.
alert-clock = The bot's clock and the database's are { $seconds } s apart.
alert-database = The database does not answer: everything stands still, nothing is lost.
alert-backup = No backup was proved to be restorable for { $days } days.
alert-paused = Sales are paused by { $by }: { $reason }
alert-workers = No worker is alive; videos that wait: { $waiting }.
