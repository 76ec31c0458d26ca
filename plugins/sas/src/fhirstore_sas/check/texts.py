"""The texts of the report: the title and the remedy of each rule, and the words around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fhirstore.plugins import Message


class RuleText(NamedTuple):
    """title: what is wrong. remedy: what to do, in sentences."""

    title: Message
    remedy: Message


REASONS: Mapping[str, Message] = {
    "no-answer": Message("the responses or the options did not allow it"),
    "too-slow": Message("the server was too slow too often; the check stopped"),
    "no-tls": Message("the address does not use https"),
    "no-certificate": Message("no client certificate was given (--cert)"),
    "no-accounts": Message("accounts are written only with --accounts"),
    "other-mode": Message("this kind of search was not requested (--ps, --cpts, --sos)"),
}
"""Why rules were not checked."""
HEADINGS: Mapping[str, Message] = {
    "title": Message("SAS check"),
    "request": Message("request"),
    "answer": Message("response"),
    "remedy": Message("remedy"),
    "error": Message("error"),
    "warning": Message("warning"),
    "none": Message("No finding."),
    "kit": Message("official kit"),
    "skipped": Message("not checked"),
}
RULES: Mapping[str, RuleText] = {
    "metadata": RuleText(
        Message("/metadata does not return a CapabilityStatement"),
        Message("Answer GET [base]/metadata with 200 and a CapabilityStatement."),
    ),
    "tls-version": RuleText(
        Message("The server accepts TLS versions below 1.2"),
        Message("Disable TLS 1.0 and 1.1 in the server or the proxy."),
    ),
    "tls-certificate": RuleText(
        Message("The server accepts clients without a certificate"),
        Message("Require a client certificate. Answer 401 or 403 (or a TLS alert) to clients without one."),
    ),
    "search-answered": RuleText(
        Message("The search does not return a Bundle"),
        Message("Answer every well-formed search with 200 and a Bundle, even if nothing is found."),
    ),
    "answer-time": RuleText(
        Message("The response takes too long"),
        Message(
            "The kit allows one second for one practitioner; the platform drops responses after seven. "
            "Index slots by schedule and start."
        ),
    ),
    "slots-found": RuleText(
        Message("There is no free slot in the next three days"),
        Message(
            "Give this identifier at least one free slot between now and the end of the day after "
            "tomorrow; otherwise the kit stops."
        ),
    ),
    "content-type": RuleText(
        Message("The content type is not application/fhir+json"), Message("Send Content-Type: application/fhir+json.")
    ),
    "bundle-type": RuleText(Message("The Bundle is not a searchset"), Message("Set Bundle.type to searchset.")),
    "bundle-profile": RuleText(
        Message("The Bundle does not declare exactly the profile of this search"),
        Message("Put only the profile shown into Bundle.meta.profile. The request determines the profile."),
    ),
    "bundle-total": RuleText(
        Message("Bundle.total is not the number of slots"), Message("Count the Slots of the response, not its entries.")
    ),
    "bundle-empty": RuleText(
        Message("A response without slots has entries"), Message("Send total 0 and omit entry if no slot is found.")
    ),
    "self-link": RuleText(
        Message("The Bundle does not have exactly one link, with relation self"),
        Message("Send the whole result on one page with a single link of relation self."),
    ),
    "self-link-uri": RuleText(
        Message("The self link is not a valid URI"),
        Message("Percent-encode the characters that a URI does not allow: | as %7C, a space as %20."),
    ),
    "self-link-request": RuleText(
        Message("The self link has other parameters than the request"),
        Message("Repeat the query string as received, with all names and values."),
    ),
    "self-link-literal": RuleText(
        Message("The self link is not identical to the request"),
        Message("Repeat the query string unchanged, and configure the public address of the server as its base."),
    ),
    "entry-full-url": RuleText(
        Message("An entry does not have the right fullUrl"),
        Message("Give every entry the absolute URL [base]/Type/id."),
    ),
    "entry-mode": RuleText(
        Message("An entry has no search.mode or the wrong one"),
        Message("Mark matches as match and all other entries as include."),
    ),
    "entry-once": RuleText(
        Message("A resource appears twice in the response"),
        Message("Send each resource once, however many slots refer to it."),
    ),
    "entry-type": RuleText(
        Message("A resource has a type that does not belong in this response"),
        Message("Omit it. In PS and CPTS responses the Location is contained in the PractitionerRole."),
    ),
    "entry-profile": RuleText(
        Message("A resource does not declare exactly the profile of this search"),
        Message("Put only the profile shown into meta.profile; the kit finds resources by it."),
    ),
    "reference-resolves": RuleText(
        Message("A reference does not resolve within the response"),
        Message("Write the reference as Type/id and send the referenced resource in the same Bundle."),
    ),
    "element-empty": RuleText(Message("An element is empty"), Message("Omit elements without a value.")),
    "slot-instant": RuleText(
        Message("The time is not in the format that the platform requires"),
        Message("Write start and end with three digits of milliseconds and a numeric offset, never Z."),
    ),
    "slot-order": RuleText(Message("The slot ends before it starts"), Message("Correct start and end.")),
    "slot-window": RuleText(
        Message("The slot starts outside the requested period"),
        Message("Apply both bounds to Slot.start, in the right time zone."),
    ),
    "slot-status": RuleText(Message("The slot is not free"), Message("Send free slots only.")),
    "slot-label": RuleText(
        Message("The slot has no label or a wrong one"),
        Message(
            "Label each slot in meta.security with TRE_R314 codes of this kind of search. Never send private slots."
        ),
    ),
    "slot-consultation": RuleText(
        Message("The type of consultation is missing or unknown"),
        Message("Code it in serviceType as AMB, HH or VR. Write reasons for consultation as text without a code."),
    ),
    "slot-appointment": RuleText(
        Message("The slot does not state whether it can be booked"),
        Message("Set appointmentType to ROUTINE (with appointment) or WALKIN (without)."),
    ),
    "slot-comment": RuleText(
        Message("The slot has no booking page"),
        Message("Put the absolute http(s) URL of the booking page into comment."),
    ),
    "slot-comment-query": RuleText(
        Message("The URL of the booking page has no query string"),
        Message("The platform appends &origin=…: give a URL that already contains a ?."),
    ),
    "slot-cpts": RuleText(
        Message("The label CPTS and the services of the CPTS do not match"),
        Message(
            "Label the slot CPTS and give it one service type 604 for each CPTS, with the extension that "
            "refers to its HealthcareService. No other service type has this extension."
        ),
    ),
    "slot-ps-cpts": RuleText(
        Message("The slot names a CPTS in a response without CPTS"),
        Message("Omit service types 604 from this response."),
    ),
    "practitioner-identifier": RuleText(
        Message("An identifier of the practitioner is not the national one"),
        Message("Send only the IDNPS identifier, with type, system and prefix (8 RPPS, 0 ADELI)."),
    ),
    "practitioner-asked": RuleText(
        Message("The first identifier of the practitioner was not requested"),
        Message("Put the identifier of the request first, and send only practitioners who were requested."),
    ),
    "practitioner-once": RuleText(
        Message("A practitioner is missing or appears several times"),
        Message("Send one Practitioner for each person and one PractitionerRole for each place."),
    ),
    "practitioner-name": RuleText(
        Message("The practitioner has no full name"), Message("Give name.family and name.given.")
    ),
    "practitioner-account": RuleText(
        Message("A regulator account appears in the response"),
        Message("Keep regulator accounts apart from practitioners; slot searches do not return them."),
    ),
    "schedule-actor": RuleText(
        Message("Schedules, roles and practitioners do not match"),
        Message(
            "Refer in each Schedule to one Practitioner and one of their PractitionerRoles. Send one "
            "Schedule for each role."
        ),
    ),
    "role-structure": RuleText(
        Message("The structure of the role does not have the right identifier"),
        Message(
            "Give PractitionerRole.organization.identifier type IDNST, its system and a value with prefix: "
            "FINESS (1), else SIRET (3), else RPPS rang (4)."
        ),
    ),
    "role-location": RuleText(
        Message("The PractitionerRole does not contain its place"),
        Message("Contain exactly one Location in the PractitionerRole and refer to it by #id."),
    ),
    "location-address": RuleText(
        Message("The address of the place is incomplete"),
        Message("Give one line, the city and a postal code of five digits."),
    ),
    "location-identifier": RuleText(
        Message("An identifier of the place is incomplete"), Message("Give each one type, system and value.")
    ),
    "specialty-text": RuleText(
        Message("A specialty with text only follows another one"),
        Message(
            "The platform accepts it, test 4.2.02 of the kit does not: code it, or send a single specialty as text."
        ),
    ),
    "phone": RuleText(
        Message("A phone number is not in international format"),
        Message("Write +33 and nine digits, and set telecom.system."),
    ),
    "identifier-oid": RuleText(Message("An OID is not written as a URI"), Message("Start the system with urn:oid:.")),
    "cpts-service": RuleText(
        Message("Services and organizations of the CPTS do not match"),
        Message("Send one HealthcareService for each Organization."),
    ),
    "cpts-identifier": RuleText(
        Message("The CPTS does not have the right identifier"),
        Message("Send only the FINESS number, with prefix 1 and type IDNST."),
    ),
    "cpts-contact": RuleText(
        Message("The CPTS has no name or no phone"), Message("Give Organization.name and telecom.")
    ),
    "sos-identifier": RuleText(
        Message("The association does not have the right identifier"),
        Message("Send only the SIRET number, with prefix 3 and type IDNST."),
    ),
    "sos-asked": RuleText(
        Message("The association was not requested"), Message("Send only the associations of the request.")
    ),
    "sos-location": RuleText(
        Message("The place has no name or an identifier of another type"),
        Message("Give it a name and identifiers of type INTRN."),
    ),
    "sos-schedule": RuleText(
        Message("Schedules and places do not match"),
        Message("Refer in each Schedule to one Location. Send one Schedule for each place."),
    ),
    "bundle-conforms": RuleText(
        Message("The response does not conform to its profile"),
        Message("Correct the element shown; the text in brackets is the rule of the profile."),
    ),
    "search-bounds": RuleText(
        Message("The bounds of the search are not applied exactly"),
        Message("Include both bounds: ge and le compare Slot.start."),
    ),
    "search-encoded-names": RuleText(
        Message("Percent-encoded parameter names are not recognised"),
        Message("Decode names as well as values: _include%3Aiterate is _include:iterate."),
    ),
    "search-trailing-slash": RuleText(
        Message("A slash after the type is not accepted"), Message("Treat Slot/? like Slot?.")
    ),
    "search-blank-after-comma": RuleText(
        Message("A space in the list of identifiers is not accepted"), Message("Strip spaces around the values.")
    ),
    "search-bound-without-offset": RuleText(
        Message("Bounds without an offset are read in another time zone"),
        Message("Read a bound without an offset as Europe/Paris time."),
    ),
    "search-bound-bare-plus": RuleText(
        Message("A + that is not encoded is not accepted"),
        Message("It arrives as a space in front of the offset: read the space as +."),
    ),
    "search-one-page": RuleText(
        Message("_count truncates the response"),
        Message("Send the whole result on one page, whatever the value of _count."),
    ),
    "search-unknown-ignored": RuleText(
        Message("An unknown identifier in the list changes the response"),
        Message("Ignore unknown identifiers and answer for the others."),
    ),
    "search-unknown": RuleText(
        Message("A search for an unknown identifier does not return an empty Bundle"),
        Message("Answer with 200, total 0 and no entry."),
    ),
    "search-past": RuleText(
        Message("A search in the past does not return an empty Bundle"),
        Message("Answer with 200 and an empty searchset."),
    ),
    "search-malformed": RuleText(
        Message("A malformed search is not refused correctly"),
        Message("Answer with 400 and an OperationOutcome that states the reason."),
    ),
    "search-accept": RuleText(
        Message("A media type for JSON is not accepted"),
        Message("Accept application/fhir+json, application/json+fhir and application/json, with or without charset."),
    ),
    "account-create-national": RuleText(
        Message("An account with a national identifier is not created"), Message("Answer with 201.")
    ),
    "account-create-technical": RuleText(
        Message("An account with a technical identifier is not created"),
        Message("Answer with 201; the national identifier does not exist yet."),
    ),
    "account-create-twice": RuleText(
        Message("An account cannot be created, or can be created twice"),
        Message("Refuse (409) an identifier that another active account has."),
    ),
    "account-create-incomplete": RuleText(
        Message("An incomplete account is created"),
        Message("Refuse (422) an account without identifier, name, telecom or active."),
    ),
    "account-create-wrong": RuleText(
        Message("An account with invalid values is created"),
        Message("Refuse empty texts, phone numbers, and types that do not match the system."),
    ),
    "account-disable": RuleText(
        Message("An account cannot be disabled"), Message("Accept PUT Practitioner?identifier=… with active false.")
    ),
    "account-enable": RuleText(
        Message("A disabled account cannot be enabled"), Message("Find disabled accounts too, and set active to true.")
    ),
    "account-change-mail": RuleText(
        Message("The email address cannot be changed"), Message("Replace the account with the body.")
    ),
    "account-change-identifier": RuleText(
        Message("The identifier cannot be changed"),
        Message("The query names the account as it is; the body is its new state."),
    ),
    "account-change-identifier-type": RuleText(
        Message("The type of identifier cannot be changed"),
        Message("Create the account if no account has the identifier of the query, whatever the body contains."),
    ),
    "account-change-family": RuleText(
        Message("The family name cannot be changed"), Message("Replace the account with the body.")
    ),
    "account-change-given": RuleText(
        Message("The given name cannot be changed"), Message("Replace the account with the body.")
    ),
    "account-update-incomplete": RuleText(
        Message("An account can be made incomplete"), Message("Refuse (422), as on creation.")
    ),
    "account-put-incomplete": RuleText(
        Message("PUT creates an incomplete account"), Message("Refuse (422), as on creation.")
    ),
    "account-put-creates": RuleText(
        Message("PUT of an unknown account does not create it"),
        Message("Create it (201). The same PUT again updates it (200)."),
    ),
    "account-identifier-freed": RuleText(
        Message("The identifier of a disabled account cannot be given to another one"),
        Message("Compare identifiers among active accounts only."),
    ),
    "account-location": RuleText(
        Message("The response does not have the right Location"), Message("Send Location: [base]/Practitioner/id.")
    ),
    "account-outcome": RuleText(
        Message("A refusal does not state the reason"),
        Message("Send an OperationOutcome with severity, code and diagnostics."),
    ),
}
"""By the id of the rule, in the order of the report."""
