FLASK_APP=guestbook:make_site
FLASK_DEBUG=1
export GUESTBOOK_TITLE='Guests of 2024'
