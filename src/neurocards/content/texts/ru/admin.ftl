## Меню операторов

admin =
    <b>Магазин</b>

    { $sales }
admin-sales-on = Продажи идут.
admin-sales-off = Продажи приостановлены с { $since } UTC ({ $by }): { $reason }
admin-day = Сегодня
admin-queue = Очередь
admin-providers = Провайдеры
admin-find = Найти клиента
admin-pause = Приостановить продажи
admin-resume = Возобновить продажи
admin-back = ‹ Меню
admin-again = ↻ Обновить
admin-second-button = Второе слово: { $what }

## Смотреть

admin-day-page =
    <b>Сегодня</b> (с { $since } UTC)

    Новых клиентов: { $customers }
    Заказов: { $orders }, видео в них: { $videos }
    Доставлено: { $delivered }
    Возвращено: { $refunded }
    Выручка: { $paid } = ${ $revenue }
    Потрачено подарков: { $gifts }
    Стоимость у провайдеров: ${ $cost }
    Сейчас ждут: { $waiting }, отложено { $held }
admin-queue-page =
    <b>Очередь</b>

    Видео ждут: { $waiting }
    Старшее ждёт: { $oldest }
    В работе: { $running }
    Воркеров за работой: { $workers }
    Последняя весть от воркера: { $seen }
    Сообщений ждут: { $messages }, старшее { $oldestmessage }
admin-never = не было
admin-ago = { $span } назад
admin-providers-page =
    <b>Провайдеры</b>

    { $keys }
admin-no-keys = За сутки ни один воркер не назвал ключа.
admin-key = <b>{ $label }</b>: { $balance }, в полёте { $inflight }, { $state }
admin-balance = ${ $usd }
admin-balance-units = { $units } единиц
admin-balance-unknown = остаток неизвестен
admin-state-good = работает
admin-state-alone = не трогаем до { $until } UTC: { $why }
admin-state-rests = отдыхает до { $until } UTC
admin-troubled-provider = { $name }: сбоев подряд { $failures }, { $state }
admin-troubled-model = { $name }: { $state }

## Искать

admin-ask-customer = Напишите Telegram id, номер заказа с # (#12) или @имя.
admin-nobody = По «{ $words }» никого не нашлось.
admin-customer =
    <b>{ $name }</b> · <code>{ $id }</code>

    Доступно: { $available } (из них подарено: { $gifts })
    В работе: { $held }
    Потрачено: { $spent }

    { $orders }
admin-no-orders = Заказов пока нет.
admin-order-line = <b>№ { $number }</b> · { $at } · { $template } · { $videos }
admin-videos = в работе { $inwork }, готово { $completed }, без видео { $failed }
admin-order =
    <b>Заказ № { $number }</b> · { $at } UTC

    { $template }
    Видео: { $count }, по { $price }
    { $videos }
admin-order-button = № { $number }
admin-grant = Начислить кредиты
admin-refund = Вернуть оплату
admin-customer-button = ‹ Клиент

## Действовать

admin-ask-grant = Сколько кредитов начислить ({ $name }, { $id }) и почему? Напишите одним сообщением: <code>5 первое видео опоздало</code>
admin-ask-refund = Почему возвращаем заказ № { $number }? Напишите причину: она останется в журнале.
admin-ask-pause = Почему приостанавливаем продажи? Напишите причину: клиенты её не увидят.
admin-ask-resume = Почему возобновляем продажи? Напишите причину: она останется в журнале.
admin-no-amount = Сначала целое число кредитов, от 1 до { $most }, потом причина.
admin-no-reason = Не хватает причины.
admin-reason-too-long = В причине { $length } символов, помещается { $limit }.
admin-nothing-to-refund = Возвращать нечего: за все видео заказа № { $number } уже вернули.
admin-no-second = С этим за сутки выйдет больше, чем { $limit }: нужен второй оператор, а в OPERATORS записан только один.
admin-confirm =
    <b>Точно?</b>

    { $what }
    Причина: { $reason }
admin-confirm-second =
    <b>Нужно второе слово</b>

    { $what }
    Причина: { $reason }
    Просит: { $by }
admin-what-grant = Начислить { $credits } клиенту { $subject }
admin-what-refund = Вернуть заказ № { $subject } ({ $credits })
admin-what-pause = Приостановить продажи
admin-what-resume = Возобновить продажи
admin-yes = Да, сделать
admin-no = Нет
admin-dropped = Ничего не сделано.
admin-done =
    ✓ { $what }
    Причина: { $reason }
admin-done-before = Это уже сделано раньше, второй раз ничего не делается.
admin-changed-nothing = Так уже было, ничего не изменилось.
admin-refunded = Возвращено сейчас: видео { $videos }, { $credits }.
admin-refunded-before = Возвращено раньше: { $videos }.
admin-on-their-way = Готовы, но ещё не вручены: { $videos }. Если их не удастся доставить, оплата вернётся сама; когда придут, их можно вернуть здесь.
admin-second-asked = Больше, чем { $limit } за сутки: подтвердить должен другой оператор. Ему написано, и это есть в его /admin. Подтвердить можно в течение суток.
admin-refused-unknown = Эта кнопка уже не действует. Ничего не сделано.
admin-refused-old = Прошло слишком много времени. Ничего не сделано: попросите снова.
admin-refused-foreign = Это попросил другой оператор и ещё не подтвердил. Ничего не сделано.
admin-refused-same = Подтвердить должен другой оператор. Ничего не сделано.
admin-refused-no-customer = Такого клиента нет. Ничего не сделано.
admin-refused-no-order = Такого заказа нет. Ничего не сделано.
