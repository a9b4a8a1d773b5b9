//! May a vague phrase blame our IP?
//!
//! Replies quote the client beside the reason (`User unknown; client [192.0.2.1]`, `Mailbox full (connection from …)`), and
//! words such as "refused" or "host" fall in any kind of refusal. A wrong blame suspends a good IP, a missed one is made
//! good by the next reply; so rules that rest on such phrases are marked `weak`. A weak rule is not believed where the
//! reply states a fact about the recipient, the message, the sender or the receiver's own health, in words or by its
//! enhanced code — unless it says of *us* in so many words that we are listed, blocked or of bad repute.

use super::EnhancedCode;
use super::rules::Pattern;

/// What speaks against a weak rule, and what for it.
#[derive(Debug)]
pub(super) struct Doubt {
    fact: Pattern,
    of_us: Pattern,
    hops: Pattern,
    written: Pattern,
}

/// Facts that no other IP would change. English first, then the words of other languages; each is a phrase with a subject of
/// its own, never a bare "denied".
const FACTS: &[&str] = &[
    // The recipient.
    r"\b(unknown|no such|invalid|nonexistent|non-existent|bad|illegal) (local |virtual |destination )?(user|recipient|mail ?box|account|addressee|person|rcpt)s?\b",
    r"\b(user|recipient|mail ?box|account|addressee|alias|e-?mail account|person)s?( address)?( <?@>?)?( that you tried to reach)? ?(is |was |are )?(unknown|not found|inactive|disabled|deactivated|suspended|does ?n.t exist|does not exist|doesn.t exist|no longer|not exist)",
    r"recip(ient)?notfound|no (such )?(mail ?box|person|one) (here|by that name|with)|(has|have) been suspended for sending",
    r"\b(mail ?box|account|user|inbox|recipient)('?s)?( account| mailbox| machine)?( <?@>?)? (is|was|has been|currently|temporarily|over|almost|compromised|infected|blocked|locked|suspended|disabled|deactivated|closed|full|frozen|has exceeded|exceeds)\b",
    r"\bmail ?box (is )?(full|unavailable|locked|over|not)|over ?-?(the |its )?quota|quota (is )?exceeded|exceeded .{0,20}quota",
    r"\b(group|distribution list|mailing list|distribution group|team channel)\b|to (this|the) (list|group)\b",
    r"(by|of|to|in) (the |this |its |a )?(recipient|user|addressee|customer)('?s)?( (personal|own|private|mail))?( (rule|filter|blacklist|black list|block ?list|preferences|request|list))?\b|\b(recipient|user|addressee) (has |does |only )",
    // The message.
    r"\b(virus|malware|infected|eicar|phishing|attachment|attached file|macro)\b|\b(message|header|subject|body|content|word|line|mail|data)('?s)? (size|exceeds|too large|too big|content|contents|headers?|scored|looks|classified|is spam|was identified|contains?|containing|body)",
    r"(rejected|refused|blocked|identified|classified|considered|detected|marked|flagged) (as|due to|for|because of|by|because it is) (possible |likely |being |our |its |a |the )*(spam|content|junk|unsolicited|url|links?|policy rule)|size limit|too (large|big) |\b(spam|content) (filter|score|scanner|engine|detected|content)|probability of spam|(message|mail|spam) scored? |scored [0-9]|due to content|\bhyperlinks?\b|\b(url|link|uri)s?\b|in (the )?(body|subject|received|message)|(received|message-id|x-[a-z-]+) ?header|x-originating-ip|message-id|\btld\b|prohibited (content|word|file)|\bheaders? (are|is|contain|lines?)|not (rfc|compliant)|malformed",
    // The sender's address, domain and identity.
    r"\b(spf|dkim|dmarc|arc)\b|unauthenticated|sender (domain|address|@)|(sending|sender.s|from|envelope|mail from|this|your|the|of sender) domain\b|domain of (the )?sender|domain reputation|envelope (sender|from)|@ on (our|my|a)|\bsender (is |has been |was )?(black|block|unknown|reject|refus)",
    // Relaying and authentication.
    r"\brelay(ing)? (access )?(denied|not|refused|prohibited)|relay mail|relaying|before relaying|must (first )?(authenticate|issue)|authentication (is )?required|log ?in first|starttls|\btls\b|\bssl\b|encrypt",
    // The receiver's own health, and the way to it.
    r"time[d]? ?-?out|\b(internal|temporary|temporarily|local|server|system|lookup|dns|database|configuration|socket|network|protocol|policy server|write|disk|software|milter) (server )?(error|problem|failure|failed|fault|unavailable|not available|down|lookup)|(error|failure) (in|on|of) (our|the|local)|overload\w*|load (is |average )?(too )?high|too much load|too busy|(is|are|server|ports|system) busy|busy,|maintenance|out of (memory|disk|space|service|order)|insufficient (system|storage|disk|memory|resources)|no space left|disk (is )?full|shutting down|service (is )?(currently |temporarily )?(unavailable|not available|not active|unreachable)|not responding|unavailable|unreachable|(cannot|could not|can.t|unable to|failed to) (reach|contact|connect|query|look ?up|check)|servfail|sockete?r?r?o?r?\b|socket error|lost (input )?connection|idle|next[- ]hop|upstream|back-?end|forwarded message|forwarding|our (gateway|forwarding|upstream)|recipient.s server|final destination|query failed|by (a |the |our )?firewall|policy daemon|no route|loop(s|ing)?\b|hop count|expired",
    r"grey-?list|gray-?list|greylisted",
    r"too many (concurrent |simultaneous |parallel |smtp |bad |open |invalid |unknown )*(connections?|sessions?|commands|errors|recipients|messages|rcpts|users)|rate limit|per (hour|minute|day)\b|connecting too often|connection rate",
    // Other languages: recipient, message, health.
    r"(empf.{1,2}nger|benutzer|postfach|konto|nutzer)\w*.{0,40}(unbekannt|gesperrt|abgelehnt|voll|gewechselt|nicht|existiert|deaktiviert)|unbekannte[rsn]? (empf|benutz|nutz|adress)|(destinataire|utilisateur|compte|bo(î|i)te|adresse)\b.{0,40}(inconnu|bloqu|plein|n.existe|inexist|refus|invalid)|(usuario|destinatario|buz.{1,2}n|cuenta|conta|caixa|usu.{1,2}rio|casella|utente|destinat.{1,2}rio)\b.{0,40}(no existe|n.{1,2}o existe|non esiste|bloque|bloqu|blocc|descono|descon|sconosc|llen|chei|pien|inv.{1,2}lid)|caixa postal|(ьзовател|лучател|ресат|щик|четн)\S*.{0,40}(не |еизвест|аблокир|ереполн|тключ)|(收件人|用户|用戶|邮箱|信箱|帐号|账号|ユーザ|宛先|受信者|メールボックス|수신자|사용자)|(odbiorc|skrzynk|u.ytkownik|nieznany odb)",
    r"anh(a|ä|ae)ng|pi.{1,2}ces? jointes?|adjunto|anexo|allegat|contenu|contenido|conte.{1,2}do|contenuto|inhalt|taille|tama.{1,2}o|tamanho|gr(ö|oe|o)(ß|ss)e|\bvirus|вирус|размер|вложен|спам|содержим|邮件内容|内容|附件|病毒|添付|スパム|ウイルス|스팸|첨부|als spam|: ?(spam|спам|스팸)|contenuto|als spam|ind.{1,2}sirable|exp.{1,2}diteur|mittente|remitente|remetente|absender|ender-?domain|domaine|relay (abgelehnt|refus|negad|deneg)|helo ung",
    r".berlast|ueberlast|ausgelastet|zu viele|wartung|fehler|vor.{1,2}bergehend|surcharg|maintenance|r.{1,2}essayez|plus tard|ocupado|intente|m.{1,2}s tarde|mantenimiento|sobrecarreg|mais tarde|manuten|occupato|sovraccaric|riprov|pi.{1,2} tardi|перегруж|позже|озднее|бслуживан|繁忙|稍后|稍後|混雑|メンテ|しばらく|netzwerkfehler|back-?end",
];

/// That the connecting IP, host or network is listed, blocked or of bad repute: who, and what of him, next to each other.
const OF_US: &[&str] = &[
    // Your IP [192.0.2.1] is on our block list; the sending host has been banned.
    concat!(
        r"\b(your|sending|sender.?s?|client|connecting|source|remote|originating) (mail |smtp |e-?mail |sending |public |source |outgoing |own )*",
        r"(ip|ips|ip-?addr(ess)?|host|server|mail ?server|mta|network|subnet|range|netblock|isp|machine|gateway|provider)( ?addr(ess)?)?(es)?",
        r"( ?\(?\[?<?[0-9a-f]+[.:][0-9a-f.:]+[\])>]*| \([^()]{0,60}\)| \[[^\]]{0,60}\])?[,:]? ?",
        r"(is|was|are|were|has been|have been|been|had been|appears|ist|wurde|est|esta|está|foi)\b (also |currently |temporarily |temporary |permanently |locally |now |being |explicitly |listed and |present |found )*",
        r"(black|block|listed|banned|refused|rejected|denied|restricted|suspended|not (allowed|accepted|permitted|welcome|authori[sz]ed|trusted)|unwelcome|untrusted|filtered|jailed|in (a|our|my|the) |on (a|our|my|the|several|some) |a (known )?(spam|source)|sending spam|known|gesperrt|bloqu|bloque)"
    ),
    r"\b(your|sending|sender.?s?|client|connecting|source) ip( ?address)?( ?\(?\[?[0-9]+\.[0-9.]+[\])]*)?:? (black|block(ed|list)|listed|banned|rejected|refused|denied|gesperrt)",
    r"(black|block)(ed|listed)? (ip|ip address|client|host|server) \(?\[?[0-9]+\.",
    // 192.0.2.1 is blacklisted; [192.0.2.1] listed by.
    concat!(
        r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+[\])>]*[,:]? (is|was|has been|are|wurde) (also |currently |temporarily |permanently |locally |explicitly |in |on |a |an |our |my |the |local |ip |dns |known )*",
        r"(black|block|\blisted|banned|denied|unwelcome|suspicious|spam|deny)"
    ),
    r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+[\])>]* ?(\w+ )?(black-?listed|\blisted (at|by|on|in)|blocked (by|using|as|in|at|on)|found (in|on)|in (our|a|my) (black|block))",
    // A list by its name.
    r"blocked using \S|(listed|found|present|blocked|rejected|blacklisted|list) (in|on|at|by|using|due to) .{0,30}(spamhaus|spamcop|barracuda|abuseat|sorbs|invaluement|uceprotect|mailspike|spamrats|psbl|nixspam|manitu|senderscore|[a-z]*rbl\b|dns ?bl|\b(sbl|xbl|pbl|cbl|css|zen)\b)|dnsbl: ?\S|\b(rbl|dnsbl) (hit|match|listed|block)",
    // Reputation, with whose.
    r"(poor|bad|low|negative) (e-?mail |ip |sender |sending |network |host )*reputation (of|for) (your|the|this) (sending |source |client |connecting )?(ip|server|host|network|mta)",
    r"(poor|bad|low|negative|due to|because of) (sender |sending |client |your )?(ip|host|server|network|mta)('s)? (address )?(has (a )?)?(poor |bad |low )?reputation|\b(your|sending|client|this) (ip|mta|server|host|network)\S*( address)?( ?\(?\[?[0-9]+\.[0-9.]+[\])]*)? ?('s |has |have )?(an? )?(very )?(poor|bad|low|negative|no) .{0,12}reputation|sending mta.s poor reputation",
    r"client host (\S+ )?(rejected: access denied|blocked|rejected: (block|black|ban|your))|(source|sending|sender|your|this) ip .{0,20}(block|black) ?-?list|traffic not accepted from this ip|banned sending ip",
    r"this ip (address )?(has been|is) (temporarily )?(block|bann|black|listed)|source of (spam|abuse|uce|junk)|spam(my)? (source|sender) (ip|host)|dynamic(ally)? (ip|address|assigned)|open (proxy|relay) ",
    r"(refused|blocked|rejected) by (the )?(dnsbl|rbl)\b|unauthenticated e-?mail from [0-9]|ip-?address of the sender|address (block|space|range) (is|has|was)|(mail|connections?) from this address block|ip.{1,4}адрес|адрес\S* ip|サーバのip|adresse ip (a |est |refus|bloqu)|ваш\S* ip|(您|你)的ip|su ip (est|ha|fue)|votre (adresse )?ip|ihre ip|deine ip|adresse ip [0-9.]+ refus|mauvaise r.{1,2}putation|(server|serveur|servidor) (steht|est|est.{1,2}) (auf|sur|en) ",
];

/// Words about another hop: what is said of an IP behind them is not said of ours.
const HOPS: &str = r"callback setup failed|while verifying|next[- ]hop|upstream|\b(our|my) (own )?(forwarding|outgoing|outbound|gateway|relay)|final destination|recipient.s server";

/// Words about what the message or somebody's record says: what is said of an IP beside them is not said of ours.
const WRITTEN: &str = r"received( header|:)|x-originating|originating client ip|subject \S?\x22|sender.?s spf|spf record|bad commands|forwarded message";

/// Enhanced codes that speak of the recipient, of the receiver's system or of the way to it (RFC 3463, RFC 7505).
const CODES: [(u16, Option<u16>); 8] =
    [(1, Some(1)), (1, Some(3)), (1, Some(10)), (2, Some(1)), (2, Some(2)), (3, Some(1)), (3, Some(2)), (4, None)];

impl Doubt {
    pub(super) fn new() -> Self {
        let one =
            |parts: &[&str]| Pattern::new(parts.iter().map(|part| format!("(?:{part})")).collect::<Vec<_>>().join("|"));
        Self { fact: one(FACTS), of_us: one(OF_US), hops: one(&[HOPS]), written: one(&[WRITTEN]) }
    }

    /// Whether a weak rule that matches `text` (normalised, without links) is not to be believed.
    pub(super) fn prevails(&self, text: &[u8], enhanced: Option<EnhancedCode>) -> bool {
        let by_code = enhanced.is_some_and(|code| {
            CODES.iter().any(|(subject, detail)| code.subject == *subject && detail.is_none_or(|d| d == code.detail))
        });
        // What stands before a word about another may still be said of us: "Your IP is blocked; the next hop said …".
        let hop = self.hops.find(text).is_some_and(|found| !self.of_us.is_match(&text[..found.start]));
        hop || self.written.is_match(text) || (by_code || self.fact.is_match(text)) && !self.of_us.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubted(text: &str, enhanced: Option<EnhancedCode>) -> bool {
        Doubt::new().prevails(text.as_bytes(), enhanced)
    }

    #[test]
    fn a_fact_beside_the_client_speaks_against_vague_phrases() {
        for text in [
            "User unknown; connection from 192.0.2.1 refused",
            "Mailbox full; client 192.0.2.1 deferred",
            "Server overloaded, connection refused",
            "SPF: your IP 192.0.2.1 is blacklisted by the sender's SPF record",
            "Received header contains a blacklisted IP 192.0.2.1",
            "Too many connections from your host 192.0.2.1, connection refused",
            "Ce compte est bloqué sur notre serveur",
        ] {
            assert!(doubted(text, None), "{text}");
        }
    }

    #[test]
    fn what_is_said_of_us_is_believed() {
        for text in [
            "Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "Your IP 192.0.2.1 is on our block list; message rejected as spam",
            "Your mail server has been blocked due to spam content",
            "192.0.2.1 is blacklisted; contact the recipient",
            "rejected due to the sending MTA's poor reputation; try again later, temporary error",
            "connection refused",
        ] {
            assert!(!doubted(text, None), "{text}");
        }
    }

    #[test]
    fn codes_of_recipient_system_and_way_are_facts() {
        let code = |class, subject, detail| Some(EnhancedCode { class, subject, detail });
        for (enhanced, facts) in [
            (code(5, 1, 1), true),
            (code(5, 2, 2), true),
            (code(4, 3, 2), true),
            (code(4, 4, 1), true),
            (code(5, 7, 1), false),
            (code(5, 3, 0), false),
            (None, false),
        ] {
            assert_eq!(doubted("refused for 192.0.2.1", enhanced), facts, "{enhanced:?}");
            assert!(!doubted("your IP is blacklisted", enhanced), "{enhanced:?}");
        }
    }
}
