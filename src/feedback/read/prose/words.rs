//! Words that bounces are written with, in lower case. What decides is where they stand; see [`super`].

use crate::feedback::read::lists::each;

/// A delivery failed, or has not succeeded yet.
const FAILED: &str = "
    could not be delivered, couldn't be delivered, cannot be delivered, can't be delivered,
    can not be delivered, not able to be delivered, was not delivered, wasn't delivered, not been delivered,
    not yet been delivered, not be delivered, not delivered to, unable to deliver, wasn't able to deliver,
    not able to deliver, couldn't deliver, could not deliver, cannot deliver, failed to deliver,
    failure to deliver, undeliverable, undelivered, undeliverd, non-deliverable, not deliverable,
    delivery failed, delivery has failed, delivery failure, delivery to the following,
    delivery has been delayed, delivery is delayed, failed permanently, permanent error, permanent fatal error,
    permanent failure, fatal errors, delivery error, delivery problem, trouble delivering, did not reach,
    could not be reached, couldn't be reached, could not reach, failed recipient, failed address,
    following address failed, address(es) failed, addresses failed, recipients failed, following recipients,
    following addresses, following recipient(s), while attempting to deliver, while trying to deliver,
    trying to deliver, transcript of session, session transcript, could not be sent, couldn't be sent,
    cannot be sent, was rejected, has been rejected, returned to sender, returning message to sender,
    returned mail, message bounced, bounced, not reach the following, message undeliverable, has been returned,
    was returned to you, being returned, error sending your mail, automatically rejected, mail error,
    still being retried, has been delayed, delayed mail, failure notice, recipient unknown, user unknown,
    unknown user, not listed in, no such user, mailbox is full, delivery status notification,
    mail delivery problem, delivery notification, successfully delivered,
    nicht zugestellt, nicht zustellbar, unzustellbar, zustellung fehlgeschlagen, konnte nicht, konnten nicht,
    nicht ausgeliefert, unerreichbar, nicht übermittelt, zustellung der nachricht, verzögert,
    niet worden bezorgd, niet worden afgeleverd, niet bezorgd, niet afgeleverd, onbestelbaar,
    niet worden verzonden, gick inte att leverera, kunde inte levereras, inte levereras, olevererbart,
    kunne ikke leveres, ikke leveres, ikke levert, uleveret, kan ikke leveres, ei voitu toimittaa,
    toimitus epäonnistui,
    n'a pas pu, n’a pas pu, n'ont pas pu, n'a pu être, n'a pu etre, n'a pas été, non remis, non distribu,
    pas être remis, pas été remis, échec de la remise, échec de, impossible de remettre, impossible de livrer,
    impossible d'acheminer, non délivré, pas pu être, mail revenu en erreur, no se pudo, no se ha podido,
    no pudo ser, no ha podido, no ha sido entregado, no entregado, no se puede entregar, no fue posible,
    no ha sido posible, devuelto, non è stato possibile, non e' stato possibile, impossibile recapitare,
    impossibile consegnare, non consegnat, non recapitat, mancato recapito, mancata consegna, não pôde ser,
    nao pode ser, não foi possível, nao foi possivel, não entregue, não pode ser, falha na entrega,
    nu a putut fi,
    не может быть доставлен, не могут быть доставлен, не удалось доставить, не было доставлено, не доставлен,
    недоставлен, не был доставлен, не удалась доставка, доставить сообщение, не вдалося доставити,
    не доставлено, nie można dostarczyć, nie mogła zostać, nie może zostać, nie została dostarczona,
    niedostarczon, nie dostarczon, nelze doručit, nebylo možné doručit, nepodařilo doručit, nedoručiteln,
    nem kézbesíthető, kézbesítés sikertelen, nem sikerült, teslim edilemedi, iletilemedi, δεν ήταν δυνατή,
    送信できません, 配信できません, 配送できません, 配達できません, 送信に失敗, 配信に失敗, 配送に失敗, 届けることができません, お届けできません, 届きません, 送れません, 送信エラー,
    メールエラー, エラーメール, 配信不能, 配送不能, 送信不能, 宛先不明, 見つかりません, 届けられません, 無法投遞, 无法投递, 無法傳遞, 無法送達, 无法送达, 无法发送, 无法传递, 投递失败,
    发送失败, 退信, 退回, 未能送达, 未送达, 被退回, 전송할 수 없, 전송하지 못, 배달할 수 없, 전달되지 않, 전달하지 못, 배달되지, 전송 실패, 반송";

/// It will be tried again.
const DELAYED: &str = "
    not yet been delivered, will be retried, will continue, still being retried, keep trying,
    no action is required, warning only, warning message only, do not need to resend, need not resend,
    will try again, will keep, has been delayed, is delayed, delivery delayed, delayed delivery,
    temporarily delayed, will retry, retry for, retrying, further attempts, further delivery attempts,
    attempts will be made, delivery attempts will, being delayed, could not be delivered for,
    not been delivered for, could not send message for past, still trying,
    delayed mail, temporary delivery problem, we'll keep, noch nicht zugestellt, wird weiterhin versucht,
    weitere zustellversuche, weiter versuchen, verzögert, nouvelle tentative, nouvelles tentatives, retardé,
    retard, se volverá a intentar, seguirá intentando, se reintentar, retrasad, ritardat, nuovi tentativi,
    nova tentativa, atrasad, vertraagd, försenat, повторные попытки, будут продолж, задерж, opóźn, 再送を試み, 再試行,
    再送します, 遅延, 遅れ, 继续尝试, 重试, 延迟, 延遲, 다시 시도, 지연";

/// It will not, whatever else is said.
const GIVEN_UP: &str = "
    failed permanently, permanent error, permanent failure, permanent fatal, permanent delivery failure,
    given up, giving up on, gave up, give up on, no further delivery attempts, no further attempts,
    not be retried, will not be tried, will be deleted from queue, in the queue too long,
    not going to try again, has been removed from, unrecoverable, retry timeout exceeded,
    retry time not reached, endgültig, définitive, permanente";

/// It arrived.
const DELIVERED: &str = "
    successfully delivered, was delivered to, has been delivered to, delivered successfully,
    erfolgreich zugestellt, remis avec succès, entregado correctamente, consegnato correttamente";

/// What labels a reason.
const REASON: &str = "
    reason, error, explanation, diagnostic, details, because, response, replied, said, cause, problem, grund,
    fehler, ursache, antwort, raison, motif, erreur, réponse, motivo, razón, razon, causa, errore, risposta,
    respuesta, resposta, erro, reden, orsak, årsag, причин, ошибк, ответ, powód, błąd, důvod, 理由, 原因, エラー,
    メッセージ, 応答, 错误, 錯誤, 사유, 이유, 오류";

/// What labels a recipient who failed.
const RECIPIENT: &str = "
    failed address, failed recipient, recipient, addressed to, delivered to, deliver to, deliver message to,
    delivering to, address, destination, mail to, message to, not delivered to, failed for, user, mailbox,
    empfänger, adressat, destinataire, destinatario, destinatário, ontvanger, geadresseerde, mottagare,
    modtager, mottaker, получател, адресат, odbiorc, příjemce, címzett, alıcı, 宛先, 受信者, 送信先, メールアドレス, 收件人,
    받는 사람, 수신자, arrival";

/// What labels somebody else.
const OTHERS: &str = "
    from, reply-to, sender, sent by, contact, absender, expéditeur, remitente, mittente, remetente, postmaster,
    return, message-id, questions, help, отправител, 送信者, 差出人, 发件人, original address, subject, assistance,
    support, cc";

/// What separates the report from the copy of the message, on a line of its own with dashes around it.
const COPY: &str = "
    copy of the message, copy of your message, original message, message header, header of the original,
    unsent message, returned message, message follows, headers follow, header follows, your message follows,
    original mail, returned mail, forwarded message, kopfzeilen, ursprünglich, originalnachricht,
    message d'origine, message original, messaggio originale, mensaje original, mensagem original,
    oorspronkelijk, ursprungligt, исходн, оригинал, 元のメール, オリジナル, 元のメッセージ, 原始, 原邮件, 원본, below this line,
    unbekannte nachricht, undelivered message";

/// Whether any of the words stands in `text` (lower case).
fn any(words: &'static str, text: &str) -> bool {
    each(words).any(|word| text.contains(word))
}

/// Whether `text` (lower case) says that a delivery failed or waits.
pub(super) fn is_failure(text: &str) -> bool {
    any(FAILED, text)
}

/// Whether it says that it will be tried again.
pub(super) fn is_delay(text: &str) -> bool {
    any(DELAYED, text) && !any(GIVEN_UP, text)
}

/// Whether it says that it arrived, and nothing else.
pub(super) fn is_success(text: &str) -> bool {
    const NEUTRAL: &[&str] = &["successfully delivered", "delivery status notification", "delivery notification"];
    let failed = each(FAILED).filter(|word| !NEUTRAL.contains(word)).any(|word| text.contains(word));
    any(DELIVERED, text) && !failed
}

/// Whether a label announces a reason.
pub(super) fn is_reason(label: &str) -> bool {
    any(REASON, label)
}

/// Whether a label announces the recipient, and nobody else.
pub(super) fn is_recipient(label: &str) -> bool {
    any(RECIPIENT, label) && !any(OTHERS, label)
}

/// Whether a label announces somebody else.
pub(super) fn is_other(label: &str) -> bool {
    any(OTHERS, label)
}

/// Whether a separator line announces the copy of the message.
pub(super) fn is_copy(line: &str) -> bool {
    any(COPY, line)
}
