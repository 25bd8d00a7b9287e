package stats

// Lang is the language of the page.
type Lang string

// The languages.
const (
	English  Lang = "en"
	Japanese Lang = "ja"
)

// Langs lists the languages.
var Langs = []Lang{English, Japanese}

// word returns the text of a key in a language. A key without a text is its own text, such as the word of a
// result.
func (l Lang) word(key string) string {
	if pair, ok := texts[key]; ok {
		if l == Japanese {
			return pair[1]
		}
		return pair[0]
	}
	return key
}

// texts has the texts of the page in English and Japanese. The Japanese terms are those of the ministry and
// of the associations of providers.
var texts = map[string][2]string{
	"title":     {"Mail authentication", "送信ドメイン認証 月次統計"},
	"made":      {"%s, %s to %s (UTC). Made on %s by sekimori %s.", "%s（%s～%s、UTC）　%s作成（sekimori %s）"},
	"part":      {"Not the whole month.", "月の途中までの集計である。"},
	"group":     {"Only hosts of the group %s.", "ホストグループ「%s」のみの集計である。"},
	"empty":     {"No message was counted.", "集計対象のメールはなかった。"},
	"messages":  {"messages", "メール数"},
	"share":     {"share", "割合"},
	"domains":   {"domains", "ドメイン数"},
	"evaluated": {"messages evaluated", "認証した受信メール"},

	"unauthenticated": {"without authentication", "送信ドメイン認証なし"},
	"nothing_passed":  {"neither SPF nor DKIM passes", "SPF・DKIMとも認証成功なし"},
	"dmarc_pass":      {"pass DMARC", "DMARC認証成功"},
	"dmarc_fail":      {"fail DMARC", "DMARC認証失敗"},
	"with_dmarc":      {"of author domains have DMARC", "DMARC対応の差出人ドメイン"},
	"rejected":        {"rejected", "拒否"},
	"quarantined":     {"quarantined", "隔離"},

	"days":     {"Messages by day", "日別の受信メール数"},
	"spf":      {"SPF", "SPFの認証結果"},
	"dkim":     {"DKIM", "DKIMの認証結果"},
	"dmarc":    {"DMARC", "DMARCの認証結果"},
	"ofall":    {"Share of all messages", "全メールに占める割合"},
	"best":     {"Share of all messages; the best result of a message's signatures", "全メールに占める割合（複数の署名がある場合は最も良い結果）"},
	"policies": {"DMARC result by published policy", "公表ポリシー別のDMARC認証結果"},
	"ofpolicy": {"Share of the messages of authors that publish this policy", "そのポリシーを公表している差出人のメールに占める割合"},
	"classes":  {"Author domains by DMARC policy", "差出人ドメインのDMARCポリシー"},
	"ofclass":  {"Share of the author domains that wrote in this month", "当月にメールを送信した差出人ドメインに占める割合"},
	"done":     {"What was done", "処理結果"},
	"reasons":  {"Rejected and quarantined, by reason", "拒否・隔離の理由"},
	"override": {"Why the published policy was not followed", "公表ポリシーと異なる処理をした理由"},
	"country":  {"Country of the client", "送信元の国・地域"},
	"ofland":   {"Share of the messages from this country", "その国・地域からのメールに占める割合"},

	"result":  {"result", "結果"},
	"policy":  {"published policy", "公表ポリシー"},
	"class":   {"class", "種別"},
	"day":     {"day", "日付"},
	"reason":  {"reason", "理由"},
	"code":    {"country", "国・地域"},
	"other":   {"other", "その他"},
	"all":     {"all", "全体"},
	"ZZ":      {"not known", "不明"},
	"rest":    {"%d more", "ほか%dか国・地域"},
	"pass":    {"pass", "認証成功（pass）"},
	"fail":    {"fail", "認証失敗（fail）"},
	"nothing": {"without authentication", "認証なし"},
	"nopol":   {"no DMARC policy", "DMARCポリシーなし"},
	"passes":  {"pass", "認証成功"},
	"fails":   {"fail", "認証失敗"},

	"p_reject":     {"p=reject", "拒否（p=reject）"},
	"p_quarantine": {"p=quarantine", "隔離（p=quarantine）"},
	"p_none":       {"p=none", "監視のみ（p=none）"},
	"p_absent":     {"no record", "レコードなし"},
	"a_reject":     {"rejected", "拒否"},
	"a_quarantine": {"quarantined", "隔離"},
	"a_tag":        {"delivered with a tag", "ラベルを付けて配送"},
	"a_accept":     {"delivered", "配送"},

	"dmarc_reject":      {"p=reject, applied", "p=rejectの適用"},
	"dmarc_quarantine":  {"p=quarantine, applied", "p=quarantineの適用"},
	"dmarc_indirect":    {"p=reject, but it looks like mail of a list or forwarder", "p=rejectだが転送・メーリングリストと推定"},
	"dmarc_softened":    {"p=reject, quarantined by configuration", "p=rejectだが設定により隔離"},
	"rule":              {"a rule of the operator", "運用者の個別ルール"},
	"rule_temperror":    {"an answer of DNS is missing, and a rule might match", "DNS応答がなく個別ルールを判定できない"},
	"spf_fail":          {"no DMARC record, and SPF says fail", "DMARCレコードなし、SPFがfail"},
	"no_policy":         {"no DMARC record, and nothing passes", "DMARCレコードなし、認証成功なし"},
	"temperror_r":       {"an answer of DNS is missing", "DNS応答なし"},
	"invalid_from":      {"From has no single author", "差出人（From）が不正"},
	"nameless_bounce":   {"a bounce without an author", "差出人のないエラーメール"},
	"oversize":          {"over a limit", "サイズなどの制限超過"},
	"forged_result":     {"a forged result in our name", "認証結果の偽装"},
	"local_policy":      {"local policy", "ローカルポリシー"},
	"mailing_list":      {"mailing list", "メーリングリスト"},
	"policy_test_mode":  {"the policy is a trial (t=y)", "試行中のポリシー"},
	"trusted_forwarder": {"trusted forwarder", "信頼する転送元"},

	"how": {"How it is counted", "集計方法"},
	"note_messages": {"Messages count that were evaluated and delivered, held or refused for good, each once. Mail of trusted and authenticated " +
		"clients is not evaluated. A message to several recipients none of whom agreed does not count.",
		"認証を行い、配送・隔離・拒否のいずれかになったメールを1通ずつ数えた。信頼するホストや認証済みクライアントのメールは認証の対象外である。" +
			"同意した受信者が1人もいないメールは数えていない。"},
	"note_auth": {"“Without authentication” is a message whose envelope sender's domain has no SPF record and which has no DKIM signature. " +
		"A DMARC record alone authenticates nothing. A DMARC fail is forged mail (spoofing), or honest mail that lost its authentication on the way.",
		"「送信ドメイン認証なし」は、エンベロープ送信者のドメインにSPFレコードがなく、DKIM署名もないメールである（DMARCレコードだけでは認証できない）。" +
			"DMARC認証失敗には、なりすましメールのほか、転送などで認証に失敗した正当なメールも含まれる。"},
	"note_domains": {"An author domain is the registered domain of an address in From. Only domains count that publish something about mail (SPF, DKIM or " +
		"DMARC), because anybody can write any name into From. The policy is the one that was seen last.",
		"差出人ドメインは、Fromアドレスの登録ドメイン（組織ドメイン）である。Fromには任意の名前を書けるため、SPF・DKIM・DMARCのいずれかを公表している" +
			"ドメインだけを数えた。ポリシーは月内に最後に確認したものである。"},
	"note_dropped": {"Messages missing in the author domains: %s, because there was no room (ledger.max_domains).",
		"差出人ドメインの集計には、上限（ledger.max_domains）を超えた%s通が含まれない。"},
}
