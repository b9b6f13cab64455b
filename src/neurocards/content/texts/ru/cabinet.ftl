## Кабинет

cabinet =
    <b>Ваш кабинет</b>

    { balance }
    Сделано: { videos }
balance =
    Доступно: { $available }
    В работе: { $held }
    Потрачено: { $spent }
cabinet-videos = Мои видео
cabinet-statement = Выписка
cabinet-language = Язык
cabinet-new-video = Новое видео
cabinet-back = ‹ В кабинет
page-newer = ‹ Новее
page-older = Старее ›
page-of = Страница { $page } из { $pages }

## Выписка

statement =
    <b>Выписка</b>
    Доступно сейчас: { $available }
statement-empty = Записей пока нет.
statement-day = <b>{ $day }</b>
statement-line = <b>{ $change }</b> · { $words }
change-more = +{ $credits }
change-less = −{ $credits }
change-none = ✓
line-welcome = подарок за знакомство
line-gift = подарок
line-top-up = пополнение
line-withdrawal = снято с баланса
line-because = { $words }: { $reason }
line-hold = отложено на { $order }
line-settle = оплачен { $order }: { $credits } из отложенного
line-refund = вернулось за { $order }: { $reason }
line-reversal = возврат оплаты за { $order }: { $reason }
line-order = заказ № { $number }
line-order-of-many = заказ № { $number }, видео { $ordinal } из { $total }
failure-briefly-customer = вы отменили
failure-briefly-provider = сервис не справился
failure-briefly-content = сервис отказал по своим правилам
failure-briefly-photo = фото не подошло
failure-briefly-result = ролик вышел бракованным
failure-briefly-model = таких видео сервис больше не делает
failure-briefly-delivery = не удалось передать видео
failure-briefly-deadline = это заняло слишком много времени
failure-briefly-operator = мы вернули оплату
failure-briefly-internal = наша ошибка
date = { $day } { $month ->
    [1] января
    [2] февраля
    [3] марта
    [4] апреля
    [5] мая
    [6] июня
    [7] июля
    [8] августа
    [9] сентября
    [10] октября
    [11] ноября
   *[12] декабря
}
date-of-year = { date } { $year }

## Мои видео

my-videos = <b>Мои видео</b>
my-videos-empty = Готовых видео пока нет. Пришлите фото товара, и сделаем первое.
my-videos-hint = Нажмите на номер, и я пришлю видео ещё раз.
video-line = { $video } · { $template } · { $date } · { $length }
video-line-forgotten = { $video } · { $template } · { $date } · { $length } · больше не хранится
video-button = ▶ { $video }
video-number = № { $number }
video-number-of-many = № { $number }, видео { $ordinal } из { $total }
video-length = { $seconds } с
video-again = Отправляю…
video-forgotten = Это видео больше не хранится: старые видео со временем удаляются. Оно осталось в этом чате, там, где было отправлено.
template-gone = Прежний шаблон

## Помощь

help =
    <b>Как это работает</b>

    1. Пришлите фото товара.
    2. Выберите шаблон и опишите товар.
    3. Скажите, сколько видео сделать, и подтвердите заказ.
    4. Через несколько минут придёт вертикальное видео ({ $length }).
    5. Все видео и каждый кредит видны в /cabinet.

    <b>Сколько это стоит</b>
    Одно видео: { $price }. Цена видна до подтверждения. Если видео не получилось, кредиты вернутся сами.

    <b>Если что-то пошло не так</b>
    Нажмите /start: продолжим с того же места.
help-price = { $price } ({ $template })
help-support = Не помогло? Напишите { $support } и назовите номер заказа: он есть на карточке заказа и под видео.
