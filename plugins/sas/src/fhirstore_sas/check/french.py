"""Ce que disent les règles en français : ce qui ne va pas, et que faire."""

from __future__ import annotations

REASONS = {
    "no-answer": "les réponses ou les options ne l'ont pas permis",
    "too-slow": "le serveur a été trop lent trop souvent, plus rien ne lui a été demandé",
    "no-tls": "l'adresse n'est pas en https",
    "no-certificate": "aucun certificat client n'a été donné (--cert)",
    "no-accounts": "les comptes ne sont écrits qu'avec --accounts",
    "other-mode": "cette recherche n'a pas été demandée (--ps, --cpts, --sos)",
}
HEADINGS = {
    "title": "Contrôle SAS",
    "findings": "constats",
    "kept": "règles respectées",
    "skipped": "non contrôlées",
    "request": "requête",
    "answer": "réponse",
    "remedy": "correction",
    "times": "fois",
    "error": "erreur",
    "warning": "avertissement",
    "none": "Aucun constat.",
    "kit": "kit officiel",
    "rule": "règle",
}
RULES = {
    "metadata": (
        "/metadata ne donne pas de CapabilityStatement",
        "Répondre à GET [base]/metadata par 200 et un CapabilityStatement.",
    ),
    "tls-version": (
        "Une version de TLS antérieure à 1.2 est acceptée",
        "Désactiver TLS 1.0 et 1.1 sur le serveur ou le proxy.",
    ),
    "tls-certificate": (
        "Un client sans certificat est accepté",
        "Demander un certificat client et répondre 401 ou 403 (ou une alerte TLS) s'il n'y en a pas.",
    ),
    "search-answered": (
        "La recherche ne reçoit pas de Bundle",
        "Répondre à toute recherche bien formée par 200 et un Bundle, même si rien n'est trouvé.",
    ),
    "answer-time": (
        "La réponse est trop lente",
        "Le kit laisse une seconde pour un praticien ; la plateforme abandonne après sept. Indexer les créneaux par "
        "agenda et par début.",
    ),
    "slots-found": (
        "Aucun créneau libre dans les trois jours",
        "Donner à cet identifiant au moins un créneau libre d'ici la fin du surlendemain ; sans cela le kit s'arrête.",
    ),
    "content-type": (
        "Le type de contenu n'est pas application/fhir+json",
        "Envoyer Content-Type: application/fhir+json.",
    ),
    "bundle-type": ("Le Bundle n'est pas un searchset", "Mettre searchset dans Bundle.type."),
    "bundle-profile": (
        "Le Bundle ne déclare pas le seul profil de cette recherche",
        "Mettre le profil indiqué, et aucun autre, dans Bundle.meta.profile ; c'est la requête qui en décide.",
    ),
    "bundle-total": (
        "Bundle.total n'est pas le nombre de créneaux",
        "Compter les Slot de la réponse, non ses entrées.",
    ),
    "bundle-empty": (
        "Une réponse sans créneau contient des entrées",
        "Sans créneau, envoyer total 0 et omettre entry.",
    ),
    "self-link": (
        "Il n'y a pas un seul lien, self",
        "Envoyer tout le résultat en une page, avec un seul lien de relation self.",
    ),
    "self-link-uri": (
        "Le lien self n'est pas une URI valide",
        "Encoder ce qui est interdit dans une URI : | en %7C, une espace en %20.",
    ),
    "self-link-request": (
        "Le lien self n'a pas les paramètres de la requête",
        "Reprendre la chaîne de requête telle que reçue, tous les noms et toutes les valeurs.",
    ),
    "self-link-literal": (
        "Le lien self n'est pas écrit comme la requête",
        "Reprendre la chaîne de requête sans la changer, et régler l'adresse publique du serveur comme base.",
    ),
    "entry-full-url": ("Une entrée n'a pas de fullUrl correct", "Donner à chaque entrée l'URL absolue [base]/Type/id."),
    "entry-mode": (
        "Une entrée n'a pas de search.mode, ou un faux",
        "Marquer match ce qui était cherché, include le reste.",
    ),
    "entry-once": (
        "Une ressource figure deux fois",
        "Envoyer chaque ressource une fois, quel que soit le nombre de créneaux.",
    ),
    "entry-type": (
        "Une ressource d'un type étranger à cette réponse",
        "L'omettre. Pour PS et CPTS, la Location est contenue dans le PractitionerRole.",
    ),
    "entry-profile": (
        "Une ressource ne déclare pas exactement le profil de cette recherche",
        "Mettre le profil indiqué, et aucun autre, dans meta.profile ; le kit s'en sert pour trouver les ressources.",
    ),
    "reference-resolves": (
        "Une référence ne mène à rien dans la réponse",
        "Écrire Type/id et envoyer la ressource visée dans le même Bundle.",
    ),
    "element-empty": ("Un élément est vide", "Omettre les éléments sans valeur."),
    "slot-instant": (
        "L'heure n'est pas écrite comme la plateforme la veut",
        "Écrire start et end avec trois chiffres de millisecondes et un décalage numérique, jamais Z.",
    ),
    "slot-order": ("Le créneau finit avant de commencer", "Corriger start et end."),
    "slot-window": (
        "Le créneau commence hors de la période demandée",
        "Appliquer les deux bornes à Slot.start, dans le bon fuseau horaire.",
    ),
    "slot-status": ("Le créneau n'est pas libre", "N'envoyer que des créneaux free."),
    "slot-label": (
        "Le créneau n'a pas de type, ou un faux",
        "Mettre dans meta.security les codes TRE_R314 de cette recherche ; ne jamais envoyer de créneau privé.",
    ),
    "slot-consultation": (
        "Le type de consultation manque ou est inconnu",
        "Le coder dans serviceType : AMB, HH ou VR ; écrire les motifs en texte, sans code.",
    ),
    "slot-appointment": (
        "Le créneau ne dit pas s'il se réserve",
        "Mettre ROUTINE (avec rendez-vous) ou WALKIN (sans) dans appointmentType.",
    ),
    "slot-comment": (
        "Le créneau n'a pas de page de prise de rendez-vous",
        "Mettre l'URL http(s) absolue de la page de prise de rendez-vous dans comment.",
    ),
    "slot-comment-query": (
        "L'URL de prise de rendez-vous n'a pas de paramètres",
        "La plateforme ajoute &origin=… : donner une URL qui contient déjà un ?.",
    ),
    "slot-cpts": (
        "Le type CPTS et les services de la CPTS ne vont pas ensemble",
        "Donner au créneau le type CPTS et un serviceType 604 par CPTS, avec l'extension vers son HealthcareService ; "
        "aucun autre serviceType n'a cette extension.",
    ),
    "slot-ps-cpts": ("Le créneau montre une CPTS dans une réponse sans CPTS", "Omettre ici les serviceType 604."),
    "practitioner-identifier": (
        "Un identifiant du praticien n'est pas l'identifiant national",
        "N'envoyer que l'identifiant IDNPS, avec type, system et préfixe (8 RPPS, 0 ADELI).",
    ),
    "practitioner-asked": (
        "Le premier identifiant du praticien n'est pas un de ceux demandés",
        "Mettre en tête l'identifiant de la requête, et n'envoyer que les praticiens demandés.",
    ),
    "practitioner-once": (
        "Un praticien manque ou figure plusieurs fois",
        "Envoyer un Practitioner par personne, et un PractitionerRole par lieu.",
    ),
    "practitioner-name": ("Le praticien n'a pas de nom complet", "Donner name.family et name.given."),
    "practitioner-account": (
        "Un compte régulateur figure dans la réponse",
        "Séparer les comptes régulateurs des praticiens ; aucune recherche de créneaux ne les renvoie.",
    ),
    "schedule-actor": (
        "Agendas, exercices et praticiens ne vont pas ensemble",
        "Nommer dans chaque Schedule un Practitioner et un de ses PractitionerRole ; un Schedule par exercice.",
    ),
    "role-structure": (
        "La structure d'exercice n'a pas d'identifiant correct",
        "Donner à PractitionerRole.organization.identifier le type IDNST, son system et une valeur préfixée : FINESS "
        "(1), sinon SIRET (3), sinon RPPS rang (4).",
    ),
    "role-location": (
        "Le lieu d'exercice n'est pas contenu",
        "Contenir exactement une Location dans le PractitionerRole et la viser par #id.",
    ),
    "location-address": (
        "L'adresse du lieu est incomplète",
        "Donner une ligne, la commune et cinq chiffres de code postal.",
    ),
    "location-identifier": ("Un identifiant du lieu est incomplet", "Donner à chacun type, system et value."),
    "specialty-text": (
        "Une spécialité en texte seul en suit une autre",
        "La plateforme l'accepte, le test 4.2.02 du kit non : la coder, ou n'en envoyer qu'une en texte.",
    ),
    "phone": (
        "Un téléphone n'est pas au format international",
        "Écrire +33 et neuf chiffres, et remplir telecom.system.",
    ),
    "identifier-oid": ("Un OID n'est pas écrit comme une URI", "Commencer le system par urn:oid:."),
    "cpts-service": (
        "Services et organisations des CPTS ne vont pas ensemble",
        "Envoyer un HealthcareService par Organization.",
    ),
    "cpts-identifier": (
        "La CPTS n'a pas d'identifiant correct",
        "N'envoyer que le FINESS, avec le préfixe 1 et le type IDNST.",
    ),
    "cpts-contact": ("La CPTS n'a pas de nom ou pas de téléphone", "Donner Organization.name et telecom."),
    "sos-identifier": (
        "L'association n'a pas d'identifiant correct",
        "N'envoyer que le SIRET, avec le préfixe 3 et le type IDNST.",
    ),
    "sos-asked": ("L'association n'était pas demandée", "N'envoyer que les associations de la requête."),
    "sos-location": (
        "Le lieu n'a pas de nom, ou un autre genre d'identifiant",
        "Donner name, et des identifiants de type INTRN.",
    ),
    "sos-schedule": (
        "Agendas et lieux ne vont pas ensemble",
        "Nommer une Location dans chaque Schedule ; un Schedule par lieu.",
    ),
    "bundle-conforms": (
        "La réponse n'est pas conforme à son profil",
        "Corriger l'élément nommé ; le texte entre crochets est la règle du profil.",
    ),
    "search-bounds": (
        "Les bornes de la recherche ne sont pas appliquées exactement",
        "Les deux bornes appartiennent à la période : ge et le comparent Slot.start.",
    ),
    "search-encoded-names": (
        "Les noms de paramètres encodés ne sont pas compris",
        "Décoder les noms comme les valeurs : _include%3Aiterate est _include:iterate.",
    ),
    "search-trailing-slash": ("Une barre après le type n'est pas comprise", "Accepter Slot/? comme Slot?."),
    "search-blank-after-comma": (
        "Une espace dans la liste d'identifiants n'est pas comprise",
        "Ôter les espaces autour des valeurs.",
    ),
    "search-bound-without-offset": (
        "Les bornes sans décalage désignent une autre heure",
        "Lire une borne sans décalage à l'heure de Paris.",
    ),
    "search-bound-bare-plus": (
        "Un + non encodé n'est pas compris",
        "Il arrive comme une espace devant le décalage : la lire comme +.",
    ),
    "search-one-page": ("_count coupe la réponse", "Envoyer tout le résultat en une page, quel que soit _count."),
    "search-unknown-ignored": (
        "Un identifiant inconnu dans la liste change la réponse",
        "Ignorer les identifiants inconnus ; répondre pour les autres.",
    ),
    "search-unknown": (
        "Une recherche d'inconnu ne reçoit pas de Bundle vide",
        "Répondre 200, total 0, sans entry.",
    ),
    "search-past": (
        "Une période passée n'est pas traitée comme une période sans créneau",
        "Répondre 200 avec un searchset vide.",
    ),
    "search-malformed": (
        "Une recherche mal formée n'est pas refusée comme il faut",
        "Répondre 400 avec un OperationOutcome qui dit pourquoi.",
    ),
    "search-accept": (
        "Un type de contenu JSON n'est pas accepté",
        "Accepter application/fhir+json, application/json+fhir et application/json, avec ou sans charset.",
    ),
    "account-create-national": ("Un compte avec identifiant national n'est pas créé", "Répondre 201."),
    "account-create-technical": (
        "Un compte avec identifiant technique n'est pas créé",
        "Répondre 201 ; l'identifiant national n'existe pas encore.",
    ),
    "account-create-twice": (
        "Le même compte se crée deux fois, ou pas une",
        "Refuser (409) un identifiant qu'un autre compte actif possède.",
    ),
    "account-create-incomplete": (
        "Un compte incomplet est créé",
        "Refuser (422) un compte sans identifier, name, telecom ou active.",
    ),
    "account-create-wrong": (
        "Un compte aux valeurs fausses est créé",
        "Refuser les textes vides, les téléphones, et les types qui ne vont pas avec le system.",
    ),
    "account-disable": ("Un compte ne se désactive pas", "Accepter PUT Practitioner?identifier=… avec active false."),
    "account-enable": (
        "Un compte désactivé ne se réactive pas",
        "Trouver aussi les comptes désactivés, et mettre active true.",
    ),
    "account-change-mail": ("Le courriel ne se change pas", "Remplacer le compte par le corps reçu."),
    "account-change-identifier": (
        "L'identifiant ne se change pas",
        "La requête nomme le compte tel qu'il est, le corps son nouvel état.",
    ),
    "account-change-identifier-type": (
        "Le genre d'identifiant ne se change pas",
        "Créer le compte si personne n'a l'identifiant de la requête, quel que soit le corps.",
    ),
    "account-change-family": ("Le nom ne se change pas", "Remplacer le compte par le corps reçu."),
    "account-change-given": ("Le prénom ne se change pas", "Remplacer le compte par le corps reçu."),
    "account-update-incomplete": ("Un compte peut devenir incomplet", "Refuser (422) comme à la création."),
    "account-put-incomplete": ("PUT crée un compte incomplet", "Refuser (422) comme à la création."),
    "account-put-creates": (
        "PUT d'un compte inconnu ne le crée pas",
        "Le créer (201) ; le même PUT ensuite le met à jour (200).",
    ),
    "account-identifier-freed": (
        "L'identifiant d'un compte désactivé ne peut pas passer à un autre",
        "Ne comparer les identifiants qu'entre comptes actifs.",
    ),
    "account-location": ("La réponse n'a pas de Location correcte", "Envoyer Location: [base]/Practitioner/id."),
    "account-outcome": (
        "Un refus ne dit pas pourquoi",
        "Envoyer un OperationOutcome avec severity, code et diagnostics.",
    ),
}
"""Par règle : (ce qui ne va pas, que faire)."""
