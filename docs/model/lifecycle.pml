/*
 * An order's life: two workers, one provider, maintenance and a seller over one database, for one generation.
 *
 * A transaction is an atomic step. Between any two steps of a worker anything else may happen: that is a pause; and
 * it may forget everything and start again: that is a crash. Time is a choice: a lease may run out whenever a job is
 * running, the deadline may pass at any moment. Nothing counts claims, polls, crashes or rescues, so there is no bound
 * on them. README.md says what the mutants (NO_FENCE, NO_ADOPTION, ...) are for.
 */

#ifndef RETRIES
#define RETRIES 1 /* Three in the product: one shows what a retry can do. More need more attempts than 3 below. */
#endif
#define RESUBMISSIONS 1 /* After an answer that was lost. */
#define NOBODY 255

mtype:generation = { OPEN, COMPLETED, FAILED, CANCELLED };
mtype:job = { AVAILABLE, RUNNING, ENDED };
mtype:attempt = { NONE, INTENT, ACCEPTED, REFUSED, UNKNOWN, ABANDONED, SUCCEEDED, ATTEMPT_FAILED, ORPHANED };
mtype:request = { UNSENT, ON_ITS_WAY, DENIED, TAKEN, FOREIGN, MADE, SPOILT, BROKEN };
mtype:word = { NO_WORD, IN_TIME, LATE };

/* The database. Attempts are numbered from 1. */
mtype:generation generation = OPEN;
mtype:job job = AVAILABLE;
mtype:attempt attempt[4] = NONE;
byte attempts = 0;
byte retries = 0;
byte video = 0; /* The attempt whose result is in the store. */
byte settled = 0;
byte refunded = 0;
byte owner = NOBODY; /* Who holds the newest lease number: nothing else about the numbers matters. */

/* The outside: what became of each attempt's request, and whether the provider sends word of its task by itself. */
mtype:request request[4] = UNSENT;
mtype:word word[4] = NO_WORD;
bool waited[4] = false; /* The time for doubting has passed without a word. */

#define LIVE(i) (attempt[i] == INTENT || attempt[i] == UNKNOWN || attempt[i] == ACCEPTED || attempt[i] == SUCCEEDED)
#define LIVE_COUNT (LIVE(1) + LIVE(2) + LIVE(3))
#define UNANSWERED(i) (attempt[i] == INTENT || attempt[i] == UNKNOWN)
#define HAS_TASK(i) (request[i] == TAKEN || request[i] == MADE || request[i] == SPOILT || request[i] == BROKEN)
#define HEARD(i) (LIVE(i) && !UNANSWERED(i) || attempt[i] == ATTEMPT_FAILED || attempt[i] == ORPHANED)
/* Given up in silence. An orphan of an open order was, too: its task turned up when the next try was under way. */
#ifdef FORGOTTEN_ORPHAN
#define SILENT(i) (attempt[i] == ABANDONED)
#else
#define SILENT(i) (attempt[i] == ABANDONED || attempt[i] == ORPHANED)
#endif
#define NEVER_BOUGHT(i) (attempt[i] == NONE || attempt[i] == REFUSED)
#define NOTHING_BOUGHT (NEVER_BOUGHT(1) && NEVER_BOUGHT(2) && NEVER_BOUGHT(3))
#define SILENCES (SILENT(1) + SILENT(2) + SILENT(3))

/* Decisions: a transaction that proves the lease first. Facts are recorded without. ------------------------------ */

#ifdef NO_FENCE
#define PROVED true
#else
#define PROVED (owner == _pid)
#endif

#ifdef BOOKS_ONLY
#define A_STALE_WORKER_DECIDES_NOTHING skip
#else
#define A_STALE_WORKER_DECIDES_NOTHING assert(owner == _pid)
#endif

#define FORGET current = 0; goto idle

inline prove() {
    if
    :: PROVED -> A_STALE_WORKER_DECIDES_NOTHING
    :: else -> FORGET
    fi
}

inline put_back() {
    job = AVAILABLE;
    owner = NOBODY
}

inline end_job() {
    job = ENDED;
    owner = NOBODY
}

inline settle() {
    assert(video != 0 && request[video] == MADE); /* Only with a sound result of this very generation. */
    generation = COMPLETED;
    settled++;
    assert(settled + refunded == 1);
    end_job()
}

inline orphan(i) {
    if
    :: UNANSWERED(i) -> attempt[i] = ABANDONED
    :: attempt[i] == ACCEPTED || attempt[i] == SUCCEEDED -> attempt[i] = ORPHANED
    :: else
    fi
}

inline refund(outcome) {
    generation = outcome;
    refunded++;
    assert(settled + refunded == 1);
    end_job();
    orphan(1);
    orphan(2);
    orphan(3)
}

/* The verdict on a failure: permanent, or one that spends a retry where one is left. */
inline judge() {
    if
    :: refund(FAILED)
    :: retries < RETRIES -> retries++; put_back()
    fi
}

/* The same where the failure ends an attempt: if more is known of it by now, look again first. */
inline judge_ended(i, state, may_end) {
    if
    :: may_end -> attempt[i] = state; request[i] = UNSENT; judge()
    :: else -> put_back()
    fi
}

inline intend() {
    if
    :: LIVE_COUNT > 0 -> judge(); FORGET /* A late fact came first: the index refuses a second live attempt. */
    :: else ->
        assert(attempts < 1 + retries + RESUBMISSIONS); /* One, one for each retry, one after a silence. */
        attempts++;
        current = attempts;
        attempt[current] = INTENT;
        assert(LIVE_COUNT == 1);
        /* Nothing is bought again while the word on the first purchase is sure to come. */
        assert(word[1] != IN_TIME && word[2] != IN_TIME && word[3] != IN_TIME)
    fi
}

/* The line, or the worker that was waiting for the answer, is gone: there may be a task. */
inline doubt_answer(i) {
    if
    :: attempt[i] == INTENT -> attempt[i] = UNKNOWN
    :: else
    fi
}

/* The fact that the provider has a task. Adopted if it can still be used, else watched for its cost. */
#define CAN_BE_USED(i) (generation == OPEN && video == 0 && LIVE_COUNT - LIVE(i) == 0)

inline record_task(i) {
    if
    :: HEARD(i)
    :: else ->
#ifdef NO_ADOPTION
        attempt[i] = (LIVE(i) -> ACCEPTED : ORPHANED);
#else
        attempt[i] = (CAN_BE_USED(i) -> ACCEPTED : ORPHANED);
#endif
        assert(attempt[i] == ACCEPTED || !CAN_BE_USED(i))
    fi;
    word[i] = NO_WORD;
    assert(LIVE_COUNT <= 1)
}

/* The actors ------------------------------------------------------------------------------------------------------- */

/* At each label the worker has something in mind that it has not done yet: there it may be paused, or crash. */
active [2] proctype worker() {
    byte current = 0; /* The attempt that this run is about, as it read it. */

idle:
    if
    :: atomic { job == AVAILABLE -> job = RUNNING; owner = _pid }
    :: generation != OPEN -> goto done
    fi;

next_step:
    if
    :: atomic {
        prove();
        if
        :: LIVE(1) -> current = 1
        :: LIVE(2) -> current = 2
        :: LIVE(3) -> current = 3
        :: else -> current = attempts
        fi;
        if
        :: video != 0 -> current = 0; goto ready
        :: video == 0 && UNANSWERED(current) ->
            if
            :: goto doubt /* Not long enough yet. */
#ifdef BLIND_RESEND
            :: true ->
#else
            :: word[current] != IN_TIME -> waited[current] = true;
#endif
                if
                :: SILENCES < RESUBMISSIONS -> goto silent
                :: else -> goto silent_again
                fi
            fi
        :: video == 0 && attempt[current] == ACCEPTED ->
            if /* Poll. */
            :: request[current] == TAKEN -> goto answered
            :: request[current] == BROKEN -> goto broken
            :: request[current] == MADE || request[current] == SPOILT || request[current] == FOREIGN -> goto made
            fi
        :: video == 0 && attempt[current] == SUCCEEDED ->
            if /* Fetch and check. */
            :: request[current] == SPOILT -> goto broken
            :: else -> goto fetched
            fi
        :: else -> current = 0; goto submit
        fi
    }
    :: atomic { FORGET }
    fi;

submit:
    if
    :: atomic { prove(); intend() }
    :: atomic { FORGET }
    fi;
sending:
    if
    :: atomic {
        assert(generation != CANCELLED); /* "Cancelled" means that nothing was bought, nor ever will be. */
        assert(!(owner == _pid && generation != OPEN));
        request[current] = ON_ITS_WAY
    }
    :: atomic { FORGET }
    fi;
sent:
    if
    :: atomic { HAS_TASK(current) -> goto accepted }
    :: atomic { request[current] == FOREIGN -> goto foreign }
    :: atomic { request[current] == DENIED -> goto refused }
    :: atomic { FORGET }
    :: atomic { /* No answer that can be trusted; noting that is a fact, too. */
        doubt_answer(current);
        current = 0;
        goto next_step
    }
    fi;

accepted:
    if
    :: atomic { record_task(current); goto answered }
    :: atomic { FORGET }
    fi;

foreign: /* The answer names a task that belongs to another generation: a task has one owner. */
    if
#ifdef SHARED_TASK
    :: atomic { record_task(current); goto answered }
#else
    :: atomic { prove(); judge(); FORGET }
#endif
    :: atomic { FORGET }
    fi;

answered:
    if
    :: atomic { prove(); put_back(); FORGET }
    :: atomic { FORGET }
    fi;

refused:
    if
    :: atomic { prove(); judge_ended(current, REFUSED, UNANSWERED(current)); FORGET }
    :: atomic { FORGET }
    fi;

doubt:
    if
    :: atomic { prove(); doubt_answer(current); put_back(); FORGET }
    :: atomic { FORGET }
    fi;

silent:
    if
    :: atomic {
        prove();
        if
        :: UNANSWERED(current) -> attempt[current] = ABANDONED
        :: else
        fi;
        current = 0;
        goto next_step
    }
    :: atomic { FORGET }
    fi;

silent_again:
    if
    :: atomic {
        prove();
        if
        :: UNANSWERED(current) -> attempt[current] = ABANDONED; refund(FAILED)
        :: else -> put_back()
        fi;
        FORGET
    }
    :: atomic { FORGET }
    fi;

made:
    if
    :: atomic {
        prove();
        if
        :: attempt[current] == ACCEPTED -> attempt[current] = SUCCEEDED
        :: else
        fi;
        current = 0;
        goto next_step
    }
    :: atomic { FORGET }
    fi;

fetched:
    if
    :: atomic { prove(); video = current; current = 0; goto next_step }
    :: atomic { FORGET }
    fi;

broken:
    if
    :: atomic {
        prove();
        judge_ended(current, ATTEMPT_FAILED, (attempt[current] == ACCEPTED || attempt[current] == SUCCEEDED));
        FORGET
    }
    :: atomic { FORGET }
    fi;

ready:
    if
    :: atomic { prove(); settle(); FORGET }
    :: atomic { FORGET }
    fi;

done:
    skip
}

inline receive(i) {
    if
    :: request[i] = DENIED
    :: request[i] = FOREIGN
    :: request[i] = TAKEN
    :: request[i] = TAKEN; word[i] = LATE
    :: !waited[i] -> request[i] = TAKEN; word[i] = IN_TIME
    fi;
    waited[i] = false
}

inline finish(i) {
    if
    :: request[i] = MADE
    :: request[i] = SPOILT
    :: request[i] = BROKEN
    fi
}

/* Everybody else. Nothing here must happen: a request may be lost, a task may never end, a word may never come. */
active proctype outside() {
end:
    do
    /* The provider. */
    :: atomic { request[1] == ON_ITS_WAY -> receive(1) }
    :: atomic { request[2] == ON_ITS_WAY -> receive(2) }
    :: atomic { request[3] == ON_ITS_WAY -> receive(3) }
    :: atomic { request[1] == TAKEN && attempt[1] == ACCEPTED -> finish(1) }
    :: atomic { request[2] == TAKEN && attempt[2] == ACCEPTED -> finish(2) }
    :: atomic { request[3] == TAKEN && attempt[3] == ACCEPTED -> finish(3) }
    /* A callback, a list of tasks, an operator: evidence that carries the attempt's own number. */
    :: atomic { word[1] != NO_WORD -> record_task(1) }
    :: atomic { word[2] != NO_WORD -> record_task(2) }
    :: atomic { word[3] != NO_WORD -> record_task(3) }
    /* Maintenance finds a lease that has run out. */
    :: atomic { job == RUNNING -> put_back() }
    /* The seller changes his mind. */
#ifdef CANCEL_RACE
    :: atomic { generation == OPEN -> refund(CANCELLED) }
#else
    :: atomic { generation == OPEN && NOTHING_BOUGHT -> refund(CANCELLED) }
#endif
    od
}

/* Maintenance at the deadline: the one thing that is sure to happen, since any process can do it. */
active proctype deadline() {
end:
#ifdef NO_DEADLINE
    false
#else
    atomic { generation == OPEN -> refund(FAILED) }
#endif
}

/* Whatever the others do: the hold ends, and stays ended. */
ltl ends { <> [] (settled + refunded == 1) }
