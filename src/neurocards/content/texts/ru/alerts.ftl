## Что узнаёт чат операторов

alert-head = <b>Магазину нужно внимание</b>
alert-head-over = <b>Всё снова в порядке</b>
alert-line =
    🔴 { $what }
    С { $since } UTC · <code>{ $command }</code> · { $page }
alert-over = ✅ Прошло ({ $since }–{ $until } UTC): { $what }
alert-books = Книги не сходятся: { $violations ->
    [one] { $violations } нарушение
    [few] { $violations } нарушения
   *[many] { $violations } нарушений
} ({ $checks }).
alert-audit = Книги последний раз сверяли { $minutes } мин. назад.
alert-inbox = Присланное клиентами ждёт: { $waiting }, старшее { $minutes } мин.
alert-queue = Видео ждут: пора делать { $due }, старшее ждёт { $minutes } мин.
alert-messages = Сообщения клиентам ждут: { $waiting }, старшее { $minutes } мин.
alert-updates = Не удалось обработать присланное клиентами за сутки: { $dead }.
alert-keys = Ключи отклонены или счета пусты: { $keys } ({ $why })
alert-balance = Мало осталось на { $keys }.
alert-answers = Отправки без ответа за четверть часа: { $lost } из { $submits }.
alert-orphans = Задачи, которые никому не нужны, стоили за сутки { $cost }.
alert-disk = Диск бота занят на { $percent } %.
alert-clock = Часы бота и базы данных расходятся на { $seconds } с.
alert-database = База данных не отвечает: всё стоит, ничего не потеряно.
alert-backup = Уже { $days } дн. ни одна копия не проверена восстановлением.
alert-paused = Продажи приостановлены ({ $by }): { $reason }
alert-workers = Ни одного живого воркера; видео ждут: { $waiting }.
