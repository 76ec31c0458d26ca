"""What the rules say in English: what is wrong, and what to do about it."""

from __future__ import annotations

REASONS = {
    "no-answer": "the answers or the options did not allow it",
    "too-slow": "the server was too slow too often, nothing more was asked",
    "no-tls": "the address is not https",
    "no-certificate": "no client certificate was given (--cert)",
    "no-accounts": "accounts are written only with --accounts",
    "other-mode": "this kind of search was not asked for (--ps, --cpts, --sos)",
}
HEADINGS = {
    "title": "SAS check",
    "findings": "findings",
    "kept": "rules kept",
    "skipped": "not checked",
    "request": "request",
    "answer": "answer",
    "remedy": "remedy",
    "times": "times",
    "error": "error",
    "warning": "warning",
    "none": "No finding.",
    "kit": "official kit",
    "rule": "rule",
}
RULES = {
    "metadata": (
        "/metadata gives no CapabilityStatement",
        "Answer GET [base]/metadata with 200 and a CapabilityStatement.",
    ),
    "tls-version": ("A version of TLS below 1.2 is accepted", "Switch TLS 1.0 and 1.1 off in the server or proxy."),
    "tls-certificate": (
        "A client without certificate is let in",
        "Ask for a client certificate and answer 401 or 403 (or a TLS alert) where there is none.",
    ),
    "search-answered": (
        "The search is not answered by a Bundle",
        "Answer every well-formed search with 200 and a Bundle, also when nothing is found.",
    ),
    "answer-time": (
        "The answer takes too long",
        "The kit gives one second for a practitioner; the platform drops answers after seven. Index slots by schedule "
        "and start.",
    ),
    "slots-found": (
        "There is no free slot in the next three days",
        "Give this identifier at least one free slot from now to the end of the day after tomorrow; the kit stops "
        "without.",
    ),
    "content-type": ("The content type is not application/fhir+json", "Send Content-Type: application/fhir+json."),
    "bundle-type": ("The Bundle is no searchset", "Set Bundle.type to searchset."),
    "bundle-profile": (
        "The Bundle does not declare the one profile of this search",
        "Put the profile shown, and no other, into Bundle.meta.profile; the request decides which one it is.",
    ),
    "bundle-total": ("Bundle.total is not the number of slots", "Count the Slots of the answer, not its entries."),
    "bundle-empty": (
        "An answer without slots has entries",
        "Send total 0 and leave entry out altogether when no slot is found.",
    ),
    "self-link": (
        "There is not exactly one link, self",
        "Send the whole result on one page with a single link of relation self.",
    ),
    "self-link-uri": (
        "The self link is no valid URI",
        "Percent-encode what is illegal in a URI: | as %7C, a blank as %20.",
    ),
    "self-link-request": (
        "The self link has other parameters than the request",
        "Repeat the query string as it was received, all names and values.",
    ),
    "self-link-literal": (
        "The self link is not written as the request was",
        "Repeat the query string unchanged, and set the public address of the server as its base.",
    ),
    "entry-full-url": ("An entry has no right fullUrl", "Give every entry the absolute URL [base]/Type/id."),
    "entry-mode": ("An entry has no or the wrong search.mode", "Mark what was searched as match, the rest as include."),
    "entry-once": ("A resource is in the answer twice", "Send each resource once, however many slots refer to it."),
    "entry-type": (
        "A resource of a type that does not belong into this answer",
        "Leave it out. In PS and CPTS answers the Location is contained in the PractitionerRole.",
    ),
    "entry-profile": (
        "A resource does not declare exactly the profile of this search",
        "Put the profile shown, and no other, into meta.profile; the kit finds resources by it.",
    ),
    "reference-resolves": (
        "A reference leads to nothing in the answer",
        "Refer as Type/id and send the resource referred to in the same Bundle.",
    ),
    "element-empty": ("An element is empty", "Leave elements without value out."),
    "slot-instant": (
        "The time is not written as the platform wants it",
        "Write start and end with three digits of milliseconds and a numeric offset, never Z.",
    ),
    "slot-order": ("The slot ends before it starts", "Correct start and end."),
    "slot-window": (
        "The slot starts outside the time asked for",
        "Apply both bounds to Slot.start, in the right time zone.",
    ),
    "slot-status": ("The slot is not free", "Send free slots only."),
    "slot-label": (
        "The slot has no, or a wrong, label",
        "Label each slot in meta.security with TRE_R314 codes of this kind of search; never send private slots.",
    ),
    "slot-consultation": (
        "The kind of consultation is missing or unknown",
        "Code it in serviceType as AMB, HH or VR; write reasons as text without code.",
    ),
    "slot-appointment": (
        "The slot does not say whether it is bookable",
        "Set appointmentType to ROUTINE (with appointment) or WALKIN (without).",
    ),
    "slot-comment": ("The slot has no booking page", "Put the absolute http(s) URL of the booking page into comment."),
    "slot-comment-query": (
        "The URL of the booking page has no query string",
        "The platform appends &origin=…: give a URL that already has a ?.",
    ),
    "slot-cpts": (
        "The label CPTS and the services of the CPTS do not fit together",
        "Label the slot CPTS and give it one service type 604 for each CPTS, with the extension to its "
        "HealthcareService; no other service type has that extension.",
    ),
    "slot-ps-cpts": ("The slot shows a CPTS in an answer without CPTS", "Leave service types 604 out of this answer."),
    "practitioner-identifier": (
        "An identifier of the practitioner is not the national one",
        "Send the IDNPS identifier alone, with type, system and prefix (8 RPPS, 0 ADELI).",
    ),
    "practitioner-asked": (
        "The first identifier of the practitioner is not one that was asked for",
        "Put the identifier of the request first, and send only practitioners who were asked for.",
    ),
    "practitioner-once": (
        "A practitioner is missing or there several times",
        "Send one Practitioner for each person, and one PractitionerRole for each place.",
    ),
    "practitioner-name": ("The practitioner has no full name", "Give name.family and name.given."),
    "practitioner-account": (
        "A regulator account is in the answer",
        "Keep regulator accounts apart from practitioners; no slot search returns them.",
    ),
    "schedule-actor": (
        "Schedules, roles and practitioners do not fit together",
        "Name in each Schedule one Practitioner and one of his PractitionerRole; one Schedule for each role.",
    ),
    "role-structure": (
        "The structure of the role has no right identifier",
        "Give PractitionerRole.organization.identifier type IDNST, its system and a value with prefix: FINESS (1), "
        "else SIRET (3), else RPPS rang (4).",
    ),
    "role-location": (
        "The place of the role is not contained in it",
        "Contain exactly one Location in the PractitionerRole and refer to it by #id.",
    ),
    "location-address": (
        "The address of the place is incomplete",
        "Give one line, the city and five digits of postal code.",
    ),
    "location-identifier": ("An identifier of the place is incomplete", "Give each one type, system and value."),
    "specialty-text": (
        "A specialty as text alone stands after another",
        "The platform takes it, test 4.2.02 of the kit does not: code it, or send a single one as text.",
    ),
    "phone": ("A phone number is not written internationally", "Write +33 and nine digits, and set telecom.system."),
    "identifier-oid": ("An OID is not written as a URI", "Begin the system with urn:oid:."),
    "cpts-service": (
        "Services and organizations of the CPTS do not fit",
        "Send one HealthcareService for each Organization.",
    ),
    "cpts-identifier": (
        "The CPTS has no right identifier",
        "Send the FINESS alone, with prefix 1 and type IDNST.",
    ),
    "cpts-contact": ("The CPTS has no name or no phone", "Give Organization.name and telecom."),
    "sos-identifier": (
        "The association has no right identifier",
        "Send the SIRET alone, with prefix 3 and type IDNST.",
    ),
    "sos-asked": ("The association was not asked for", "Send only the associations of the request."),
    "sos-location": (
        "The place has no name or another kind of identifier",
        "Give name, and identifiers of type INTRN.",
    ),
    "sos-schedule": (
        "Schedules and places do not fit",
        "Name one Location in each Schedule; one Schedule for each place.",
    ),
    "bundle-conforms": (
        "The answer does not conform to its profile",
        "Correct the element named; the text in brackets is the rule of the profile.",
    ),
    "search-bounds": (
        "The bounds of the search are not applied exactly",
        "Both bounds belong to the window: ge and le compare Slot.start.",
    ),
    "search-encoded-names": (
        "Percent-encoded parameter names are not understood",
        "Decode names as well as values: _include%3Aiterate is _include:iterate.",
    ),
    "search-trailing-slash": ("A slash after the type is not understood", "Accept Slot/? as Slot?."),
    "search-blank-after-comma": (
        "A blank in the list of identifiers is not understood",
        "Trim blanks around the values.",
    ),
    "search-bound-without-offset": (
        "Bounds without offset mean another time",
        "Read a bound without offset as Europe/Paris time.",
    ),
    "search-bound-bare-plus": (
        "A + that was not encoded is not understood",
        "It arrives as a blank before the offset: read it as +.",
    ),
    "search-one-page": ("_count cuts the answer", "Send the whole result on one page, whatever _count says."),
    "search-unknown-ignored": (
        "An unknown identifier in the list changes the answer",
        "Ignore identifiers that nobody has; the others are answered.",
    ),
    "search-unknown": (
        "A search for somebody unknown is not answered by an empty Bundle",
        "Answer 200, total 0, no entry.",
    ),
    "search-past": ("A window in the past is not answered as one without slots", "Answer 200 with an empty searchset."),
    "search-malformed": (
        "A malformed search is not refused properly",
        "Answer 400 with an OperationOutcome that tells the reason.",
    ),
    "search-accept": (
        "A media type for JSON is not accepted",
        "Accept application/fhir+json, application/json+fhir and application/json, with or without charset.",
    ),
    "account-create-national": ("An account with a national id is not created", "Answer 201."),
    "account-create-technical": (
        "An account with a technical id is not created",
        "Answer 201; there is no national id yet.",
    ),
    "account-create-twice": (
        "The same account can be created twice, or not once",
        "Refuse (409) an identifier that another active account has.",
    ),
    "account-create-incomplete": (
        "An incomplete account is created",
        "Refuse (422) an account without identifier, name, telecom or active.",
    ),
    "account-create-wrong": (
        "An account with wrong values is created",
        "Refuse empty texts, phones, and types that do not fit.",
    ),
    "account-disable": ("An account cannot be disabled", "Accept PUT Practitioner?identifier=… with active false."),
    "account-enable": ("A disabled account cannot be enabled", "Find disabled accounts too, and set active true."),
    "account-change-mail": ("The mail cannot be changed", "Replace the account by the body."),
    "account-change-identifier": (
        "The identifier cannot be changed",
        "The query names the account as it is, the body its new state.",
    ),
    "account-change-identifier-type": (
        "The kind of identifier cannot be changed",
        "Create the account when nobody has the identifier of the query, whatever the body holds.",
    ),
    "account-change-family": ("The family name cannot be changed", "Replace the account by the body."),
    "account-change-given": ("The given name cannot be changed", "Replace the account by the body."),
    "account-update-incomplete": ("An account can be made incomplete", "Refuse (422) as at creation."),
    "account-put-incomplete": ("PUT creates an incomplete account", "Refuse (422) as at creation."),
    "account-put-creates": (
        "PUT of an unknown account does not create it",
        "Create it (201); the same PUT again updates it (200).",
    ),
    "account-identifier-freed": (
        "The identifier of a disabled account cannot be given to another",
        "Compare identifiers among active accounts only.",
    ),
    "account-location": ("The answer has no right Location", "Send Location: [base]/Practitioner/id."),
    "account-outcome": ("A refusal tells no reason", "Send an OperationOutcome with severity, code and diagnostics."),
}
"""By rule: (what is wrong, what to do)."""
